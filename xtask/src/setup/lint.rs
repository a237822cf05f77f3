//! rustfmt and clippy of the toolchain in use.

use super::{Places, system};
use crate::artifacts;
use crate::progress::{Outcome, Step};
use crate::{paths, shell};
use anyhow::Result;
use std::process::Command;
use std::time::Duration;

/// What Debian calls them, for its own toolchain.
const PACKAGES: [&str; 2] = ["rustfmt-web", "rust-web-clippy"];
/// How long rustup may take to fetch both.
const RUSTUP_LIMIT: Duration = Duration::from_secs(300);

/// Asks rustup for what is missing; without rustup, asks the system.
pub(super) fn provide(places: &Places, step: &Step) -> Result<(Outcome, ())> {
    let names = || "rustfmt, clippy".to_owned();
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(subcommand, _)| shell::capture(Command::new(artifacts::cargo()).args([subcommand, "--version"])).is_err())
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok((Outcome::Present(names()), ()));
    }
    if paths::which("rustup").is_none() {
        system::install(places, step, &PACKAGES)?;
        return Ok((Outcome::Done(names()), ()));
    }
    let mut add = Command::new("rustup");
    add.args(["component", "add"]).args(&missing);
    shell::run_logged(&mut add, &places.log("rustup-components"), step, Some(RUSTUP_LIMIT))?;
    Ok((Outcome::Done(names()), ()))
}
