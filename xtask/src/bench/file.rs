//! The byte lane: a large file to the agent and back.

use super::Bench;
use super::loopback;
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use anyhow::{Result, ensure};
use std::fs;

/// Bytes of the file.
const SIZE: u64 = 1 << 30;
const DOWNLOADS: usize = 7;
const UPLOADS: usize = 5;
/// Bytes sent at once.
const PIECE: usize = 1 << 20;
const TARGET: &str = "/v1/files?path=large";

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = upload(bench)?;
    rows.splice(..0, download(bench)?);
    Ok(rows)
}

/// Leaves the file for the download.
fn upload(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.agent()?;
    let mut connection = agent.connect()?;
    let (before, piece, copy) = (agent.resident()?, vec![b'x'; PIECE], bench.scratch.path().join("copy"));
    let (mut sent, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..UPLOADS {
        sent.time(|| connection.put(TARGET, SIZE, &piece))?;
        bare.time(|| loopback::upload(&copy, SIZE, &piece))?;
    }
    fs::remove_file(&copy)?;
    let growth = agent.peak()?.saturating_sub(before);
    let fast = Target::AtLeast(Quantity::megabytes_per_second(800));
    Ok(vec![
        rate("file PUT of 1 GiB", &sent, &bare).target(fast),
        Row::new("  memory it takes meanwhile", Quantity::Size(growth)).target(Target::AtMost(Quantity::mebibytes(8))),
    ])
}

fn download(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.agent()?;
    let mut connection = agent.connect()?;
    let (before, file) = (agent.resident()?, bench.scratch.path().join("large"));
    let (mut received, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..DOWNLOADS {
        let answer = received.time(|| connection.get(TARGET))?;
        let length = bare.time(|| loopback::download(&file))?;
        ensure!((answer.length, length) == (SIZE, SIZE), "{} and {length} bytes are not all of it", answer.length);
    }
    let growth = agent.peak()?.saturating_sub(before);
    let target = Target::AtLeast(Quantity::megabytes_per_second(800));
    Ok(vec![
        rate("file GET of 1 GiB", &received, &bare).target(target).incumbent("17 MB/s"),
        Row::new("  memory it takes meanwhile", Quantity::Size(growth)).target(Target::AtMost(Quantity::mebibytes(8))),
    ])
}

fn rate(name: &'static str, agent: &Samples, bare: &Samples) -> Row {
    let rate = |time| Quantity::rate(SIZE, time);
    Row::new(name, rate(agent.p50())).p95(rate(agent.p95())).against("bare copy over loopback", rate(bare.p50()))
}
