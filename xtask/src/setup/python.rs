//! Programs that come as Python packages: pinned, in an environment of their own in the cache.

use super::Places;
use super::stamp::Stamp;
use super::system::{self, Missing};
use crate::progress::{Outcome, Step};
use crate::{paths, shell};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's Python cannot make environments without the second package.
const MISSING: [Missing; 2] = [
    Missing { program: "python3", package: "python3", purpose: "Python tools" },
    Missing { program: "python3 -m venv", package: "python3-venv", purpose: "Python tools" },
];

/// Programs of one environment.
pub(crate) struct PythonTools {
    directory: PathBuf,
}

impl PythonTools {
    /// Where the environment is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A program of the environment.
    pub(crate) fn command(&self, name: &str) -> Command {
        Command::new(self.directory.join("bin").join(name))
    }
}

/// Finds the environment `name` of exactly these requirements, a file of the repository, or makes it.
pub(super) fn provide(places: &Places, step: &Step, name: &str, requirements: &str) -> Result<(Outcome, PythonTools)> {
    let requirements = places.repository.join(requirements);
    let stamp = Stamp::of(&requirements)?;
    // Its programs know where they are: it cannot be moved into place once it is complete.
    let directory = places.cache.join(format!("{name}-{}", stamp.text()));
    let tools = PythonTools { directory };
    if stamp.is_on(&tools.directory) {
        return Ok((Outcome::Present("Python environment".to_owned()), tools));
    }
    step.announce("making a Python environment");
    make(places, step, name, &tools.directory)?;
    let mut install = tools.command("pip");
    install.args(["install", "--disable-pip-version-check", "--requirement"]).arg(&requirements);
    let count = packages(&fs::read_to_string(&requirements).unwrap_or_default());
    shell::run_measured(&mut install, &places.log(name), step, None, |log| progress(log, count))?;
    stamp.put_on(&tools.directory)?;
    Ok((Outcome::Done("Python environment".to_owned()), tools))
}

fn make(places: &Places, step: &Step, name: &str, directory: &Path) -> Result<()> {
    let log = places.log(&format!("{name}-environment"));
    let venv = || {
        let mut python = Command::new("python3");
        python.args(["-m", "venv", "--clear"]).arg(directory);
        shell::run_logged(&mut python, &log, step, None)
    };
    if paths::which("python3").is_some() && venv().is_ok() {
        return Ok(());
    }
    system::install(places, step, &MISSING)?;
    venv().context("make a Python environment")
}

/// How many packages a file of requirements names.
fn packages(requirements: &str) -> usize {
    requirements.lines().filter(|line| line.contains("==")).count()
}

/// How far pip is by its log.
fn progress(log: &Path, count: usize) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    if text.contains("Installing collected packages") {
        return format!("installing {count} packages");
    }
    let collected = text.lines().filter(|line| line.starts_with("Collecting ")).count();
    format!("{collected} of {count} packages")
}

#[cfg(test)]
mod tests {
    use super::{packages, progress};
    use std::fs;

    #[test]
    fn pips_progress_is_counted_in_packages() {
        assert_eq!(packages("# why\na==1\nb==2 \\\n  --hash=sha256:00\n"), 2);
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "Collecting a==1 (from -r x)\n  Downloading a.whl\nCollecting b==2\n").unwrap();
        assert_eq!(progress(&log, 3), "2 of 3 packages");
        fs::write(&log, "Collecting a==1\nInstalling collected packages: a\n").unwrap();
        assert_eq!(progress(&log, 1), "installing 1 packages");
    }
}
