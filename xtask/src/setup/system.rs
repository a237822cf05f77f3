//! Packages of the operating system.

use super::Places;
use crate::progress::Step;
use crate::{paths, shell};
use anyhow::{Result, bail};
use std::process::Command;

/// Installs Debian packages, saying their names first. Needs root, or sudo (which may ask for a password).
pub(super) fn install(places: &Places, step: &Step, packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if paths::which("apt-get").is_none() {
        bail!("needs the programs of these Debian packages, and there is no apt-get to install them: {list}");
    }
    step.announce(&format!("installing system packages: {list}"));
    let log = places.log("apt-get");
    shell::run_logged(&mut apt_get(&["update"])?, &log, step, None)?;
    let arguments = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    shell::run_logged(&mut apt_get(&arguments)?, &log, step, None)
}

fn apt_get(arguments: &[&str]) -> Result<Command> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("apt-get")
    } else if paths::which("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    } else {
        bail!("must be root, or have sudo, to run apt-get {}", arguments.join(" "));
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
    Ok(command)
}
