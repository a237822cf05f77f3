//! Clients that other people's generators make from the API's description: each calls every operation of the running service.

use super::api::{DESCRIPTION, tenant_key};
use crate::artifacts;
use crate::dev::client::Client;
use crate::dev::stack::Stack;
use crate::progress::Step;
use crate::setup::{NpmTools, PythonTools};
use crate::shell;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What is kept of the clients: the calls that they make, and how they are told.
const SOURCES: &str = "tests/generators";

/// The tenant whose sandboxes the clients make.
const TENANT: &str = "generated";

/// Longest time for one client's calls, several times what they take.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// The generators, and a place for what they make.
pub(super) struct Generators<'a> {
    python: PythonTools,
    npm: NpmTools,
    root: &'a Path,
    running: &'a Stack,
    key: String,
    directory: PathBuf,
}

impl<'a> Generators<'a> {
    /// Prepares a directory of the running service's, with the sources and the packages in it.
    pub(super) fn new((python, npm): (PythonTools, NpmTools), root: &'a Path, running: &'a Stack) -> Result<Self> {
        let directory = running.directory().join("generators");
        fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        for source in fs::read_dir(root.join(SOURCES)).context("read the sources of the clients")? {
            let source = source?;
            fs::copy(source.path(), directory.join(source.file_name())).context("copy the sources of the clients")?;
        }
        symlink(npm.modules(), directory.join("node_modules")).context("link the packages")?;
        let key = tenant_key(&Client::new(running.url(), running.api_key()), root, TENANT, &["exec", "connect"])?;
        Ok(Self { python, npm, root, running, key, directory })
    }

    /// `@hey-api/openapi-ts`: functions and types.
    pub(super) fn hey_api(&self, step: &Step) -> Result<()> {
        let arguments = ["-o", "hey-api", "-c", "@hey-api/client-fetch", "-i"];
        self.run("hey-api", self.npm.command("openapi-ts").args(arguments).arg(self.description()), step)?;
        self.type_script("hey_api", step)
    }

    /// `openapi-typescript`: types, for openapi-fetch.
    pub(super) fn openapi_typescript(&self, step: &Step) -> Result<()> {
        let arguments = ["-o", "openapi-typescript.d.ts"];
        self.run("openapi-typescript", self.npm.command("openapi-typescript").arg(self.description()).args(arguments), step)?;
        self.type_script("openapi_typescript", step)
    }

    /// `openapi-python-client`: modules and classes.
    pub(super) fn python_client(&self, step: &Step) -> Result<()> {
        let mut rewrite = self.python.command("python");
        rewrite.arg("enums.py").arg(self.description()).arg("enums.json");
        self.run("openapi-python-client-enums", &mut rewrite, step)?;
        let mut generate = self.python.command("openapi-python-client");
        generate.args(["generate", "--meta", "none", "--output-path", "generated", "--config", "python.yaml"]);
        self.run("openapi-python-client", generate.args(["--path", "enums.json"]), step)?;
        self.run("python_client", self.python.command("python").arg("python_client.py"), step)
    }

    /// Has the compiler check a program with the generated types, and runs it.
    fn type_script(&self, name: &str, step: &Step) -> Result<()> {
        // Each program is compiled for itself: the types of the others may not have been made.
        let configuration = fs::read_to_string(self.directory.join("tsconfig.json")).context("read tsconfig.json")?;
        let configuration = configuration.replace("\"*.ts\"", &format!("\"{name}.ts\""));
        let project = self.directory.join(format!("{name}.tsconfig.json"));
        fs::write(&project, configuration).context("write the compiler's configuration")?;
        self.run(&format!("{name}-types"), self.npm.command("tsc").arg("-p").arg(&project), step)?;
        let output = format!("{name}.mjs");
        let mut bundle = self.npm.command("esbuild");
        bundle.arg(format!("{name}.ts")).args(["--bundle", "--platform=node", "--format=esm"]).arg(format!("--outfile={output}"));
        self.run(&format!("{name}-bundle"), &mut bundle, step)?;
        self.run(name, self.npm.node().arg(output), step)
    }

    fn run(&self, name: &str, command: &mut Command, step: &Step) -> Result<()> {
        command.current_dir(&self.directory);
        command.env("CABANA_URL", self.running.url()).env("CABANA_API_KEY", &self.key).env("OPENAPI", self.description());
        command.env("CALLS", "calls.json").env("TYPES", "openapi-typescript.d.ts");
        command.env("NAME", format!("made-by-{}", name.replace('_', "-")));
        let log = artifacts::log(self.root, &format!("generators-{name}"));
        shell::run_measured(command, &log, step, Some(LIMIT), progress)
    }

    fn description(&self) -> PathBuf {
        self.root.join(DESCRIPTION)
    }
}

/// The last call that has been answered.
fn progress(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().next_back().unwrap_or_default().to_owned()
}
