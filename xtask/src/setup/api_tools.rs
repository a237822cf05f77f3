//! The programs that judge the API's description and fuzz the API by it: Python packages, pinned, in an environment of their own.

use super::{Places, system};
use crate::progress::{Outcome, Step};
use crate::{paths, shell};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What pip installs, each package at its version.
const REQUIREMENTS: &str = "tests/openapi/requirements.txt";
/// Written into an environment that is complete: it cannot be moved into place, because its programs know where they are.
const COMPLETE: &str = "complete";

/// Where the programs are.
pub(crate) struct ApiTools {
    programs: PathBuf,
}

impl ApiTools {
    /// A program of the environment.
    pub(crate) fn command(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }
}

/// Finds the environment of exactly these requirements, or makes it.
pub(super) fn provide(places: &Places, step: &Step) -> Result<(Outcome, ApiTools)> {
    let requirements = places.repository.join(REQUIREMENTS);
    let content = fs::read(&requirements).with_context(|| format!("read {}", requirements.display()))?;
    let digest: String = Sha256::digest(content).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let environment = places.cache.join(format!("api-tools-{digest}"));
    let tools = ApiTools { programs: environment.join("bin") };
    if environment.join(COMPLETE).is_file() {
        return Ok((Outcome::Present(names()), tools));
    }
    step.announce("making a Python environment for them");
    make(places, step, &environment)?;
    let mut install = tools.command("pip");
    install.args(["install", "--disable-pip-version-check", "--requirement"]).arg(requirements);
    shell::run_logged(&mut install, &places.log("api-tools"), step, None)?;
    fs::write(environment.join(COMPLETE), "").context("mark the Python environment as complete")?;
    Ok((Outcome::Done(names()), tools))
}

fn make(places: &Places, step: &Step, environment: &Path) -> Result<()> {
    let log = places.log("api-tools-environment");
    let venv = || {
        let mut python = Command::new("python3");
        python.args(["-m", "venv", "--clear"]).arg(environment);
        shell::run_logged(&mut python, &log, step, None)
    };
    if paths::which("python3").is_some() && venv().is_ok() {
        return Ok(());
    }
    // Debian's Python cannot make environments without this package.
    system::install(places, step, &["python3", "python3-venv"])?;
    venv()
}

fn names() -> String {
    "openapi-spec-validator, schemathesis".to_owned()
}
