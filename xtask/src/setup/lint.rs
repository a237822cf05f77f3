//! rustfmt, clippy and cargo-deny.

use super::system::{self, Missing};
use super::{Places, python};
use crate::artifacts;
use crate::progress::{Outcome, Step};
use crate::{paths, shell};
use anyhow::Result;
use std::process::Command;
use std::time::Duration;

/// What Debian calls them, for its own toolchain.
const PACKAGES: [(&str, Missing); 2] = [
    ("fmt", Missing { program: "rustfmt", package: "rustfmt-web", purpose: "lint" }),
    ("clippy", Missing { program: "clippy", package: "rust-web-clippy", purpose: "lint" }),
];
/// How long rustup may take to fetch both.
const RUSTUP_LIMIT: Duration = Duration::from_secs(300);
/// The oldest cargo-deny that reads deny.toml.
const OLDEST_DENY: (u32, u32) = (0, 18);

/// Asks rustup for what is missing of rustfmt and clippy; without rustup, asks the system.
pub(super) fn provide(places: &Places, step: &Step) -> Result<(Outcome, ())> {
    let names = || "rustfmt, clippy".to_owned();
    let is_missing = |subcommand: &str| shell::capture(Command::new(artifacts::cargo()).args([subcommand, "--version"])).is_err();
    let missing: Vec<Missing> =
        PACKAGES.into_iter().filter(|(subcommand, _)| is_missing(subcommand)).map(|(_, program)| program).collect();
    if missing.is_empty() {
        return Ok((Outcome::Present(names()), ()));
    }
    if paths::which("rustup").is_none() {
        system::install(places, step, &missing)?;
        return Ok((Outcome::Done(names()), ()));
    }
    let mut add = Command::new("rustup");
    add.args(["component", "add"]).args(missing.iter().map(|one| one.program));
    shell::run_logged(&mut add, &places.log("rustup-components"), step, Some(RUSTUP_LIMIT))?;
    Ok((Outcome::Done(names()), ()))
}

/// Finds cargo-deny, or takes it from a Python package that holds its program: from source it takes minutes to build.
pub(super) fn provide_deny(places: &Places, step: &Step) -> Result<(Outcome, Command)> {
    if let Ok(version) = shell::capture(Command::new("cargo-deny").arg("--version"))
        && is_new_enough(&version)
    {
        return Ok((Outcome::Present(version), Command::new("cargo-deny")));
    }
    let (outcome, tools) = python::provide(places, step, "cargo-deny", "xtask/requirements.txt")?;
    Ok((outcome, tools.command("cargo-deny")))
}

/// Whether `cargo-deny 0.20.2` is.
fn is_new_enough(version: &str) -> bool {
    let numbers = version.rsplit(' ').next().unwrap_or_default();
    let mut numbers = numbers.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST_DENY
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn an_old_cargo_deny_is_not_used() {
        assert!(is_new_enough("cargo-deny 0.20.2") && is_new_enough("cargo-deny 1.0.0"));
        assert!(!is_new_enough("cargo-deny 0.14.2") && !is_new_enough("cargo-deny"));
    }
}
