//! Searching a large tree of sources, beside ripgrep on the same pattern.

use super::Bench;
use super::agent::{Agent, SEARCH_PATH};
use super::connection::JSON;
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use crate::{setup, shell};
use anyhow::{Context, Result, ensure};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const RUNS: usize = 15;
/// Found on some thousand lines, all of which are shown.
const PATTERN: &str = r"unsafe fn \w+_unchecked|impl<\w+> Drop for";
const LIMIT: u64 = 10_000;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let ripgrep = setup::provide_ripgrep()?;
    let (name, sources) = sources()?;
    let agent = Agent::start(&bench.program, &sources)?;
    let mut connection = agent.connect()?;
    let request = serde_json::json!({ "path": ".", "pattern": PATTERN, "limit": LIMIT }).to_string();
    let (mut search, mut peer) = (Samples::default(), Samples::default());
    for _ in 0..RUNS {
        let answer = search.time(|| connection.post("file/search", &request, JSON))?;
        let lines = peer.time(|| matching_lines(&ripgrep, &sources))?;
        let found = String::from_utf8_lossy(answer.tail());
        let summary = found.rsplit_once(r#""matches":"#).map_or("", |(_, summary)| summary);
        ensure!(summary.starts_with(&format!("{lines},")), "ripgrep finds {lines} lines, the agent {summary}");
    }
    let row = Row::new(name, Quantity::Time(search.p50())).p95(Quantity::Time(search.p95()));
    Ok(vec![row.against("rg on the same pattern", Quantity::Time(peer.p50())).target(Target::Times(1.5))])
}

/// The standard library's source where rustup or Debian has put it, else that of all crates that Cargo has unpacked.
fn sources() -> Result<(&'static str, PathBuf)> {
    let sysroot = shell::capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    let places = [Path::new(&sysroot).join("lib/rustlib/src/rust/library"), "/usr/lib/rustlib/src/rust/library".into()];
    if let Some(library) = places.into_iter().find(|place| place.is_dir()) {
        return Ok(("file.search of Rust's standard library", library));
    }
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let crates = home.context("there is no home directory")?.join("registry/src");
    ensure!(crates.is_dir(), "there are no sources to search: neither the standard library's nor {}", crates.display());
    Ok(("file.search of Cargo's unpacked crates", crates))
}

/// How many lines ripgrep finds; configuration and ignore files from outside the tree left aside, of which the agent knows nothing.
fn matching_lines(ripgrep: &Path, sources: &Path) -> Result<usize> {
    let mut command = Command::new(ripgrep);
    command.args(["--no-config", "--no-ignore-parent", "--no-ignore-global", "--line-number", PATTERN, "."]);
    let output = command.env_clear().env("PATH", SEARCH_PATH).current_dir(sources).output().context("run ripgrep")?;
    ensure!(output.status.success(), "ripgrep: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout.iter().filter(|byte| **byte == b'\n').count())
}
