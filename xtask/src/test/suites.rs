//! Test suites of other people's products, as their packages ship them, against the running service, by adapters: those of `tests/suites`, and those
//! of the client for Python.

use super::api::tenant_key;
use crate::artifacts;
use crate::dev::client::Client;
use crate::dev::stack::Stack;
use crate::progress::Step;
use crate::setup::PythonTools;
use crate::shell;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The requirements, and the adapter of a suite that the client for Python has none for.
const ADAPTERS: &str = "tests/suites";

/// The client for Python, whose cases are the suites of its adapters.
const CLIENT: &str = "clients/python";

/// The tenant whose sandboxes the suites make.
const TENANT: &str = "suites";

/// Longest time for one suite, several times what it takes.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// How often a check is tried that fails.
const ATTEMPTS: usize = 3;

/// The suites, ready to run.
pub(super) struct Suites<'a> {
    python: PythonTools,
    root: &'a Path,
    running: &'a Stack,
    key: String,
}

impl<'a> Suites<'a> {
    /// Makes a key for the suites.
    pub(super) fn new(python: PythonTools, root: &'a Path, running: &'a Stack) -> Result<Self> {
        let key = tenant_key(&Client::new(running.url(), running.api_key()), root, TENANT, &["exec", "connect"])?;
        shell::capture(python.command("python").arg("scripts/generate.py").current_dir(root.join(CLIENT)))?;
        Ok(Self { python, root, running, key })
    }

    /// LangChain's standard tests of sandboxes.
    pub(super) fn langchain(&self, step: &Step) -> Result<()> {
        self.pytest("langchain", &self.root.join(CLIENT), &["tests/test_deepagents.py"], step)
    }

    /// Inspect's checks of sandbox environments.
    pub(super) fn inspect(&self, step: &Step) -> Result<()> {
        self.pytest("inspect", &self.root.join(CLIENT), &["tests/test_inspect.py"], step)
    }

    /// Jupyter's checks of kernels.
    pub(super) fn jupyter(&self, step: &Step) -> Result<()> {
        self.pytest("jupyter", &self.root.join(ADAPTERS), &["test_jupyter.py"], step)
    }

    /// The tests of SWE-ReX, which its source package holds, with our fixtures in place of its own.
    pub(super) fn swe_rex(&self, step: &Step) -> Result<()> {
        let directory = self.running.directory().join("swe-rex");
        fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        let version = fs::read_to_string(self.root.join(ADAPTERS).join("requirements.txt")).context("read the requirements")?;
        let version = version.lines().find(|line| line.starts_with("swe-rex==")).context("swe-rex is not pinned")?.to_owned();
        let arguments = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:", &version];
        self.run("swe-rex-source", self.python.command("pip").args(arguments).current_dir(&directory), step)?;
        let archive = source(&directory)?;
        let mut unpack = Command::new("tar");
        unpack.args(["--strip-components=1", "-xzf"]).arg(archive).current_dir(&directory);
        self.run("swe-rex-unpack", &mut unpack, step)?;
        let fixtures = self.root.join(ADAPTERS).join("swe_rex/conftest.py");
        fs::copy(&fixtures, directory.join("tests/conftest.py")).context("copy the fixtures")?;
        // The source package has its tests, but not the file that makes them importable.
        fs::write(directory.join("tests/__init__.py"), "").context("make the tests a package")?;
        // The server runs in the sandbox, which has its packages from here.
        let install = ["install", "--quiet", "--disable-pip-version-check", "--target", "packages", &version];
        self.run("swe-rex-packages", self.python.command("pip").args(install).current_dir(&directory), step)?;
        // These share a directory with the server.
        let apart = "not (read_write_file or upload or non_existent_directory or large_file)";
        self.pytest("swe-rex", &directory, &["tests/test_execution.py", "-k", apart], step)
    }

    /// Runs tests. Some of them assert times, which do not hold on a loaded machine: those that have failed are run again, alone.
    fn pytest(&self, name: &str, directory: &Path, arguments: &[&str], step: &Step) -> Result<()> {
        let cache = format!("cache_dir={}", self.running.directory().join(format!("pytest-{name}")).display());
        let run = |more: &[&str]| {
            let mut tests = self.python.command("python");
            tests
                .args(["-m", "pytest", "-q", "-o", &cache, "-o", "asyncio_mode=auto", "-W", "ignore"])
                .args(arguments)
                .args(more);
            tests
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("SWE_REX_PACKAGES", directory.join("packages"))
                .env("PYTHONPATH", self.root.join(CLIENT).join("src"))
                .envs(["CABANA_URL", "CABANA_TEST_URL"].map(|name| (name, self.running.url())))
                .envs(["CABANA_API_KEY", "CABANA_TEST_API_KEY"].map(|name| (name, &self.key)));
            self.run(name, tests.current_dir(directory), step)
        };
        (1..ATTEMPTS).fold(run(&[]), |outcome, _| outcome.or_else(|_| run(&["--last-failed"])))
    }

    fn run(&self, name: &str, command: &mut Command, step: &Step) -> Result<()> {
        let log = artifacts::log(self.root, &format!("suite-{name}"));
        shell::run_measured(command, &log, step, Some(LIMIT), progress)
    }
}

/// The source package in a directory.
fn source(directory: &Path) -> Result<PathBuf> {
    let files = fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    let mut files = files.flatten().map(|file| file.path());
    files.find(|file| file.extension().is_some_and(|extension| extension == "gz")).context("there is no source package")
}

/// How far pytest is by its log.
fn progress(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let percent = text.lines().rev().find_map(|line| line.rsplit_once('[').and_then(|(_, rest)| rest.strip_suffix(']')));
    percent.unwrap_or("starting").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{progress, source};
    use std::fs;

    #[test]
    fn pytests_progress_is_its_last_percentage() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        assert_eq!(progress(&log), "starting");
        fs::write(&log, "....... [ 50%]\n.....").unwrap();
        assert_eq!(progress(&log), "50%");
    }

    #[test]
    fn the_source_package_is_found_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        assert!(source(directory.path()).is_err());
        fs::write(directory.path().join("a-1.tar.gz"), "").unwrap();
        assert_eq!(source(directory.path()).unwrap(), directory.path().join("a-1.tar.gz"));
    }
}
