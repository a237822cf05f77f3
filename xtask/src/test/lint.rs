//! Format, lints, documentation, dependencies. None of it needs Node, a browser, or the tools that build the Worker.

use super::report::Report;
use crate::progress::{Outcome, Step, say};
use crate::{artifacts, fuzz, setup, shell, sync};
use anyhow::{Context, Result};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Warnings are errors, as for the code itself.
const RUSTDOC_FLAGS: &str = "-D warnings";

/// Where cargo-deny looks for the database of advisories, below Cargo's home; the digits are of the database's address.
const DATABASE: &str = "advisory-dbs/advisory-db-3157b0e258782691";

/// Runs the checks, all of them even when one fails.
pub(super) fn run(root: &Path, report: &Report) {
    if report.need("lint tools", setup::provide_lint_tools).is_some() {
        report.check("format", |step| logged(root, "fmt", cargo(root, "fmt").args(["--all", "--check"]), step));
        report.check("clippy", |step| {
            let mut clippy = cargo(root, "clippy");
            logged(root, "clippy", clippy.args(["--workspace", "--all-targets", "--", "-D", "warnings"]), step)
        });
    }
    report.check("kinds", |_| sync::check(root));
    report.check("documentation", |step| {
        let mut doc = cargo(root, "doc");
        doc.args(["--workspace", "--no-deps"]).env("RUSTDOCFLAGS", RUSTDOC_FLAGS);
        logged(root, "doc", &mut doc, step)
    });
    report.check("fuzz targets", |step| fuzz::check(root, step));
    if let Some(program) = report.need("cargo-deny", setup::provide_deny) {
        dependencies(root, report, &program);
    }
    // It shares the Worker's target directory, and so waits for a build of the Worker that is under way.
    if let Some(wasm) = report.need("wasm32 target", setup::provide_wasm) {
        report.check("clippy wasm32", |step| {
            let mut clippy = wasm.cargo("clippy")?;
            clippy.current_dir(root).env("CARGO_TARGET_DIR", artifacts::wasm_target(root));
            clippy.args([
                "--package",
                "cabana-module",
                "--package",
                "cabana-worker",
                "--target",
                setup::wasm::TARGET,
                "--",
                "-D",
                "warnings",
            ]);
            logged(root, "clippy-wasm32", &mut clippy, step)
        });
    }
}

/// Judges the dependencies by deny.toml: licenses, duplicates and sources always, advisories where there is a database of them.
fn dependencies(root: &Path, report: &Report, program: &Command) {
    // cargo-deny reads the packages of every platform; the builds have fetched this one's.
    let fetch = |step: &Step| {
        logged(root, "fetch", cargo(root, "fetch").arg("--locked"), step)?;
        Ok((Outcome::Done("fetched".to_owned()), ()))
    };
    if report.need("packages", || Step::run("packages", fetch)).is_none() {
        return;
    }
    let check = |name: &str, checks: &[&str]| {
        report.check(name, |step| {
            let mut deny = Command::new(program.get_program());
            // Nothing is fetched: what is checked is what Cargo.lock names, and a database that is here.
            deny.current_dir(root).args(["--offline", "--all-features", "check"]).args(checks);
            logged(root, &format!("deny-{name}"), &mut deny, step)
        });
    };
    check("dependencies", &["bans", "licenses", "sources"]);
    match advisories() {
        Ok(database) if database.is_dir() => check("advisories", &["advisories"]),
        Ok(database) => say(&format!(
            " . advisories           no database: to have them checked, clone RustSec's advisory-db into {}",
            database.display()
        )),
        Err(error) => say(&format!(" . advisories           no database: {error:#}")),
    }
}

/// Where cargo-deny keeps its copy of RustSec's database.
fn advisories() -> Result<PathBuf> {
    let home = match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => env::home_dir().context("neither CARGO_HOME nor HOME is set")?.join(".cargo"),
    };
    Ok(home.join(DATABASE))
}

/// Runs a check with its output in a log, whose end is shown when it fails.
fn logged(root: &Path, name: &str, command: &mut Command, step: &Step) -> Result<()> {
    shell::run_logged(command, &artifacts::log(root, name), step, None)
}

/// A cargo subcommand in the repository.
fn cargo(root: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(artifacts::cargo());
    command.current_dir(root).arg(subcommand);
    command
}
