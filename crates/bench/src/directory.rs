//! Directories: a search of a large source tree, and a list of many entries.

use crate::agent::Agent;
use crate::connection::{Connection, JSON};
use crate::quantity::Quantity;
use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::{Bench, SEARCH_PATH};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const SEARCHES: usize = 15;
/// Matches some thousand lines, all of which are returned.
const PATTERN: &str = r"unsafe fn \w+_unchecked|impl<\w+> Drop for";
const LIMIT: u64 = 10_000;
const ENTRIES: u64 = 100_000;
/// Entries of a page.
const PAGE: u64 = 10_000;
const LISTS: usize = 5;

/// Searches a source tree, beside ripgrep with the same pattern.
pub(crate) fn search(bench: &Bench) -> Result<Vec<Row>> {
    let (name, sources) = sources()?;
    let agent = Agent::start(&bench.agent, &sources, &[])?;
    let mut connection = agent.connect()?;
    let request = json!({ "path": ".", "pattern": PATTERN, "limit": LIMIT }).to_string();
    let (mut search, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..SEARCHES {
        let body = search.time(|| connection.post("file/search", &request, JSON))?;
        let lines = bare.time(|| matching_lines(&bench.ripgrep, &sources))?;
        let found = String::from_utf8_lossy(body.tail());
        let summary = found.rsplit_once(r#""matches":"#).map_or("", |(_, summary)| summary);
        ensure!(summary.starts_with(&format!("{lines},")), "ripgrep finds {lines} lines, the agent {summary}");
    }
    let row = Row::latency(name, &search).baseline("rg on the same pattern", Quantity::Duration(bare.p50()));
    Ok(vec![row.target(Target::MaximumRatio(1.5))])
}

/// The source of the standard library where rustup or Debian installs it, else of all crates that Cargo has unpacked.
fn sources() -> Result<(&'static str, PathBuf)> {
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).output().context("run rustc")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&rustc.stdout).trim());
    let candidates = [sysroot.join("lib/rustlib/src/rust/library"), "/usr/lib/rustlib/src/rust/library".into()];
    if let Some(library) = candidates.into_iter().find(|candidate| candidate.is_dir()) {
        return Ok(("file.search of Rust's standard library", library));
    }
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let crates = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    ensure!(crates.is_dir(), "no sources to search: neither the standard library's nor {}", crates.display());
    Ok(("file.search of Cargo's unpacked crates", crates))
}

/// How many lines ripgrep finds. Configuration and ignore files outside the tree are left out, since the agent does not see them.
fn matching_lines(ripgrep: &Path, sources: &Path) -> Result<usize> {
    let mut command = Command::new(ripgrep);
    command.args(["--no-config", "--no-ignore-parent", "--no-ignore-global", "--line-number", PATTERN, "."]);
    let output = command.env_clear().env("PATH", SEARCH_PATH).current_dir(sources).output().context("run ripgrep")?;
    ensure!(output.status.success(), "ripgrep: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout.iter().filter(|byte| **byte == b'\n').count())
}

/// Lists a directory of many entries page by page, beside `ls`.
pub(crate) fn list(bench: &Bench) -> Result<Vec<Row>> {
    let directory = bench.scratch.path().join("many");
    fs::create_dir(&directory)?;
    (0..ENTRIES).try_for_each(|number| File::create(directory.join(format!("{number:06}"))).map(drop))?;
    let agent = bench.start_agent()?;
    let mut connection = agent.connect()?;
    let before = agent.resident_bytes()?;
    let (mut listed, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..LISTS {
        let pages = listed.time(|| read_pages(&mut connection))?;
        ensure!(pages == ENTRIES / PAGE, "{pages} of {} pages were listed", ENTRIES / PAGE);
        bare.time(|| run_ls(&directory))?;
    }
    let growth = agent.growth_since(before)?;
    fs::remove_dir_all(directory).context("remove the entries")?;
    Ok(vec![
        Row::latency("file.list of 100,000 entries in 10 pages", &listed).baseline("ls -lA", Quantity::Duration(bare.p50())),
        Row::new("  memory it takes meanwhile", Quantity::Size(growth)).at_most(Quantity::mebibytes(16)),
    ])
}

/// Follows the cursor from page to page, and counts the pages.
fn read_pages(connection: &mut Connection) -> Result<u64> {
    let mut request = format!(r#"{{"path":"many","limit":{PAGE}}}"#);
    let mut pages = 0;
    loop {
        let body = connection.post("file/list", &request, JSON)?;
        pages += 1;
        let end = String::from_utf8_lossy(body.tail()).into_owned();
        // The cursor is the last field, so that what follows it closes the request as well.
        let Some((_, cursor)) = end.rsplit_once(r#""cursor":"#) else { return Ok(pages) };
        request = format!(r#"{{"path":"many","limit":{PAGE},"cursor":{cursor}"#);
    }
}

fn run_ls(directory: &Path) -> Result<()> {
    let listed = Command::new("ls").arg("-lA").arg(directory).env_clear().env("PATH", SEARCH_PATH).output().context("run ls")?;
    let lines = listed.stdout.iter().filter(|byte| **byte == b'\n').count();
    ensure!(listed.status.success() && lines as u64 > ENTRIES, "ls printed {lines} lines");
    Ok(())
}
