//! Packages of the operating system. They are installed only as root: nothing asks for a password, and nothing runs sudo unasked.

use super::Places;
use crate::guard::stray;
use crate::progress::Step;
use crate::{paths, shell};
use anyhow::{Result, bail};
use std::process::Command;

/// A program that is not there.
#[derive(Clone, Copy)]
pub(super) struct Missing {
    pub(super) program: &'static str,
    /// Debian's package that brings it.
    pub(super) package: &'static str,
    /// What needs it.
    pub(super) purpose: &'static str,
}

/// Installs what is missing as root on Debian, saying the packages first. Fails elsewhere, and says what to install.
pub(super) fn install(places: &Places, step: &Step, missing: &[Missing]) -> Result<()> {
    let packages = packages(missing);
    let has_apt = paths::which("apt-get").is_some();
    if !has_apt || !rustix::process::geteuid().is_root() {
        bail!("{}", instructions(missing, has_apt));
    }
    // One at a time: steps run beside each other, and apt-get does not wait for itself.
    let _lock = super::lock(&places.cache, "apt-get", step)?;
    step.announce(&format!("installing Debian packages: {}", packages.join(" ")));
    let log = places.log("apt-get");
    shell::run_logged(&mut apt_get(&["update"]), &log, step, None)?;
    let arguments = [&["install", "--yes", "--no-install-recommends"], packages.as_slice()].concat();
    shell::run_logged(&mut apt_get(&arguments), &log, step, None)
}

/// What to do about missing programs.
fn instructions(missing: &[Missing], has_apt: bool) -> String {
    let programs: Vec<String> = missing.iter().map(|one| format!("{} (for {})", one.program, one.purpose)).collect();
    let programs = programs.join(", ");
    if has_apt {
        format!("missing: {programs}; install with `sudo apt-get install {}` and start again", packages(missing).join(" "))
    } else {
        format!("missing: {programs}; there is no apt-get here, so install them by other means and start again")
    }
}

fn packages(missing: &[Missing]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = missing.iter().map(|one| one.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn apt_get(arguments: &[&str]) -> Command {
    // Without the mark of the run: its guard kills what has it, and a dpkg that is killed leaves the system's packages half configured.
    let mut command = Command::new("env");
    command.args(["-u", stray::MARK, "apt-get", "-o", "DPkg::Lock::Timeout=300"]);
    command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::{Missing, instructions};

    const MISSING: [Missing; 3] = [
        Missing { program: "kill", package: "procps", purpose: "cases of processes" },
        Missing { program: "gcc", package: "gcc", purpose: "the case that builds LZ4" },
        Missing { program: "pgrep", package: "procps", purpose: "cases of processes" },
    ];

    #[test]
    fn missing_programs_are_named_with_the_exact_command() {
        let text = instructions(&MISSING, true);
        assert!(
            text.contains("gcc (for the case that builds LZ4)") && text.contains("`sudo apt-get install gcc procps`"),
            "{text}"
        );
    }

    #[test]
    fn without_apt_the_programs_are_named_all_the_same() {
        let text = instructions(&MISSING, false);
        assert!(text.contains("pgrep (for cases of processes)") && !text.contains("sudo"), "{text}");
    }
}
