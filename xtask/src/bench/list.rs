//! Listing a directory of many entries page by page, beside `ls` on the same directory.

use super::Bench;
use super::agent::SEARCH_PATH;
use super::connection::{Connection, JSON};
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

const ENTRIES: u64 = 100_000;
/// Entries of a page.
const PAGE: u64 = 10_000;
const RUNS: usize = 5;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let directory = bench.scratch.path().join("many");
    fs::create_dir(&directory)?;
    (0..ENTRIES).try_for_each(|number| File::create(directory.join(format!("{number:06}"))).map(drop))?;
    let agent = bench.agent()?;
    let mut connection = agent.connect()?;
    let before = agent.resident()?;
    let (mut listed, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..RUNS {
        let pages = listed.time(|| list(&mut connection))?;
        ensure!(pages == ENTRIES / PAGE, "{pages} pages are not all");
        bare.time(|| show(&directory))?;
    }
    let growth = agent.peak()?.saturating_sub(before);
    fs::remove_dir_all(directory).context("remove the entries")?;
    let row = Row::new("file.list of 100,000 entries in 10 pages", Quantity::Time(listed.p50()));
    Ok(vec![
        row.p95(Quantity::Time(listed.p95())).against("ls -lA", Quantity::Time(bare.p50())),
        Row::new("  memory it takes meanwhile", Quantity::Size(growth)).target(Target::AtMost(Quantity::mebibytes(16))),
    ])
}

/// Goes from page to page, and counts them.
fn list(connection: &mut Connection) -> Result<u64> {
    let mut request = format!(r#"{{"path":"many","limit":{PAGE}}}"#);
    let mut pages = 0;
    loop {
        let answer = connection.post("file/list", &request, JSON)?;
        pages += 1;
        let end = String::from_utf8_lossy(answer.tail()).into_owned();
        let Some((_, cursor)) = end.rsplit_once(r#""cursor":"#) else { return Ok(pages) };
        request = format!(r#"{{"path":"many","limit":{PAGE},"cursor":{cursor}"#);
    }
}

fn show(directory: &Path) -> Result<()> {
    let shown = Command::new("ls").arg("-lA").arg(directory).env_clear().env("PATH", SEARCH_PATH).output().context("run ls")?;
    let lines = shown.stdout.iter().filter(|byte| **byte == b'\n').count();
    ensure!(shown.status.success() && lines as u64 > ENTRIES, "ls shows {lines} lines");
    Ok(())
}
