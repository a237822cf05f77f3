//! The programs that the integration cases run, in the sandbox and outside.

use super::{Places, system};
use crate::paths;
use crate::progress::{Outcome, Step};
use anyhow::Result;

/// Each program with the Debian package that brings it.
const PROGRAMS: [(&str, &str); 11] = [
    ("bash", "bash"),
    ("chromium", "chromium"),
    ("cmp", "diffutils"),
    ("curl", "curl"),
    ("gcc", "gcc"),
    ("git", "git"),
    ("kill", "procps"),
    ("make", "make"),
    ("pgrep", "procps"),
    ("python3", "python3"),
    ("tar", "tar"),
];

/// Asks the system for what is missing.
pub(super) fn provide(places: &Places, step: &Step) -> Result<(Outcome, ())> {
    let missing = PROGRAMS.iter().filter(|(program, _)| paths::which(program).is_none());
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    packages.dedup();
    let names = PROGRAMS.map(|(program, _)| program).join(", ");
    if packages.is_empty() {
        return Ok((Outcome::Present(names), ()));
    }
    system::install(places, step, &packages)?;
    Ok((Outcome::Done(names), ()))
}
