//! Running `cargo test`, whose output passes through and is counted.

use super::cargo;
use super::tally::Tally;
use crate::shell;
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{Command, Stdio};

/// What came of some suites.
pub(super) struct Cases {
    pub(super) tally: Tally,
    /// Whether cargo itself was content: false, too, when something did not compile or crashed.
    pub(super) succeeded: bool,
}

/// The unit and documentation tests of every package, the Worker's natively.
pub(super) fn unit(root: &Path) -> Result<Cases> {
    let mut test = cargo(root, "test");
    run(test.args(["--workspace", "--exclude", "cabana-tests", "--no-fail-fast"]))
}

/// The integration cases against `target`, which is told to them, with the rest they need, in the environment.
pub(super) fn integration(root: &Path, target: &str, environment: &[(&str, &OsStr)]) -> Result<Cases> {
    let mut test = cargo(root, "test");
    test.args(["--package", "cabana-tests", "--test", "integration", "--no-fail-fast"]);
    // What needs the whole stack, and what needs an agent of its own making.
    let other = if target == "agent" { "control::" } else { "limits::" };
    test.args(["--", "--skip", other]);
    test.env("CABANA_TEST_TARGET", target).envs(environment.iter().copied());
    run(&mut test)
}

/// The cases that take a service down under all the others, one after another.
pub(super) fn outages(root: &Path, environment: &[(&str, &OsStr)]) -> Result<Cases> {
    let mut test = cargo(root, "test");
    test.args(["--package", "cabana-tests", "--test", "integration", "--no-fail-fast"]);
    test.args(["--", "control::outages", "--test-threads", "1"]);
    test.env("CABANA_TEST_TARGET", "stack").env("CABANA_TEST_OUTAGES", "1").envs(environment.iter().copied());
    run(&mut test)
}

fn run(command: &mut Command) -> Result<Cases> {
    let mut child = shell::die_with_parent(command.stdout(Stdio::piped())).spawn().context("start cargo test")?;
    let mut output = BufReader::new(child.stdout.take().context("cargo test has no output")?);
    let mut tally = Tally::default();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        stdout().lock().write_all(&line)?;
        tally.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let succeeded = child.wait().context("wait for cargo test")?.success();
    Ok(Cases { tally, succeeded })
}
