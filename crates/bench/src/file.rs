//! Files over HTTP: large ones, small ones, and one that many clients write at once.

use crate::Bench;
use crate::connection::{Connection, JSON};
use crate::loopback;
use crate::quantity::Quantity;
use crate::row::{Row, Target};
use crate::samples::Samples;
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

/// Bytes of the large file.
const LARGE: u64 = 1 << 30;
const DOWNLOADS: usize = 7;
const UPLOADS: usize = 5;
/// Bytes of the large file sent at once.
const PIECE: usize = 1 << 20;
const LARGE_TARGET: &str = "/v1/files?path=large";
/// Bytes of the small file.
const SMALL: usize = 1 << 10;
/// Runs with the small file; the ways to read and write it alternate, so that all see the same machine.
const SMALL_RUNS: usize = 2_000;
const SMALL_TARGET: &str = "/v1/files?path=small";
/// Clients that write one file at once.
const WRITERS: usize = 16;
const ROUNDS: usize = 1_000;

/// Download and upload of a large file, beside a bare copy over loopback.
pub(crate) fn large(bench: &Bench) -> Result<Vec<Row>> {
    // The upload leaves the file for the download.
    let upload = upload(bench)?;
    Ok([download(bench)?, upload].concat())
}

fn upload(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.start_agent()?;
    let mut connection = agent.connect()?;
    let (before, piece, copy) = (agent.resident_bytes()?, vec![b'x'; PIECE], bench.scratch.path().join("copy"));
    let (mut sent, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..UPLOADS {
        sent.time(|| connection.put(LARGE_TARGET, LARGE, &piece))?;
        bare.time(|| loopback::upload(&copy, LARGE, &piece))?;
    }
    fs::remove_file(&copy)?;
    Ok(vec![large_row("file PUT of 1 GiB", &sent, &bare), memory_row(agent.growth_since(before)?)])
}

fn download(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.start_agent()?;
    let mut connection = agent.connect()?;
    let (before, file) = (agent.resident_bytes()?, bench.scratch.path().join("large"));
    let (mut received, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..DOWNLOADS {
        let body = received.time(|| connection.get(LARGE_TARGET))?;
        let length = bare.time(|| loopback::download(&file))?;
        ensure!((body.length(), length) == (LARGE, LARGE), "{} and {length} of {LARGE} bytes arrived", body.length());
    }
    let row = large_row("file GET of 1 GiB", &received, &bare).incumbent("17 MB/s");
    Ok(vec![row, memory_row(agent.growth_since(before)?)])
}

fn large_row(name: &'static str, agent: &Samples, bare: &Samples) -> Row {
    let throughput = |duration| Quantity::throughput(LARGE, duration);
    Row::new(name, throughput(agent.p50()))
        .p95(throughput(agent.p95()))
        .baseline("bare copy over loopback", throughput(bare.p50()))
        .target(Target::MinimumRatio(0.8))
}

fn memory_row(growth: u64) -> Row {
    Row::new("  memory it takes meanwhile", Quantity::Size(growth)).at_most(Quantity::mebibytes(8))
}

/// Reading and writing of a small file, beside a thread that does the same over loopback.
pub(crate) fn small(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.start_agent()?;
    let mut connection = agent.connect()?;
    // Written first, so that there is something to read.
    let written = write_small(&mut connection, bench.scratch.path())?;
    Ok([read_small(&mut connection, &bench.scratch.path().join("small"))?, written].concat())
}

fn read_small(connection: &mut Connection, file: &Path) -> Result<Vec<Row>> {
    let (mut get, mut call, mut bare) = (Samples::default(), Samples::default(), Samples::default());
    loopback::exchange(
        |_| fs::read(file).context("read the file"),
        |mut stream| {
            for _ in 0..SMALL_RUNS {
                let body = get.time(|| connection.get(SMALL_TARGET))?;
                ensure!(body.length() == SMALL as u64, "{} of {SMALL} bytes arrived", body.length());
                call.time(|| connection.post("file/read", r#"{"path":"small"}"#, JSON))?;
                bare.time(|| exchange(&mut stream, b"?", SMALL))?;
            }
            Ok(())
        },
    )?;
    let baseline = "read by a thread, over loopback";
    Ok(vec![small_row("file of 1 KiB: GET", &get, baseline, &bare), small_row("  file.read", &call, baseline, &bare)])
}

fn write_small(connection: &mut Connection, directory: &Path) -> Result<Vec<Row>> {
    let (mut put, mut call, mut bare) = (Samples::default(), Samples::default(), Samples::default());
    let (temporary, file, content) = (directory.join("temporary"), directory.join("by-hand"), vec![b'x'; SMALL]);
    let request = format!(r#"{{"path":"small","content":"{}"}}"#, "x".repeat(SMALL));
    loopback::exchange(
        |content| {
            fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, &file)).context("write the file")?;
            Ok(b"!".to_vec())
        },
        |mut stream| {
            for _ in 0..SMALL_RUNS {
                put.time(|| connection.put(SMALL_TARGET, SMALL as u64, &content))?;
                call.time(|| connection.post("file/write", &request, JSON))?;
                bare.time(|| exchange(&mut stream, &content, 1))?;
            }
            Ok(())
        },
    )?;
    let baseline = "written by a thread, over loopback";
    Ok(vec![small_row("file of 1 KiB: PUT", &put, baseline, &bare), small_row("  file.write", &call, baseline, &bare)])
}

/// Sends a request and reads a response of this length.
fn exchange(stream: &mut TcpStream, request: &[u8], length: usize) -> Result<()> {
    stream.write_all(request)?;
    Ok(stream.read_exact(&mut [0; SMALL][..length])?)
}

fn small_row(name: &'static str, agent: &Samples, baseline: &'static str, bare: &Samples) -> Row {
    Row::latency(name, agent).baseline(baseline, Quantity::Duration(bare.p50())).target(Target::MaximumRatio(2.5))
}

/// How many of the clients win that replace the same version of a file at once: exactly one may.
pub(crate) fn race(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.start_agent()?;
    let mut clients: Vec<_> = (0..WRITERS).map(|_| agent.connect()).collect::<Result<_>>()?;
    clients[0].post("file/write", r#"{"path":"raced","content":"start"}"#, JSON)?;
    let winners: Vec<_> = (0..ROUNDS).map(|_| race_round(&mut clients)).collect::<Result<_>>()?;
    let (one, count) = (Quantity::Count(1), |winners: Option<&u64>| Quantity::Count(winners.copied().unwrap_or_default()));
    Ok(vec![
        Row::new("If-Match race of 16, 1,000 rounds: winners, at least", count(winners.iter().min())).at_least(one),
        Row::new("  and at most", count(winners.iter().max())).at_most(one),
    ])
}

/// All clients write at once, each on condition of the same ETag. Returns how many succeeded.
fn race_round(clients: &mut [Connection]) -> Result<u64> {
    let stat = clients[0].post("file/stat", r#"{"path":"raced"}"#, JSON)?;
    let etag = serde_json::from_slice::<Value>(stat.tail())?["etag"].take();
    let start = Barrier::new(clients.len());
    let write = &|client: usize, connection: &mut Connection| {
        let request = json!({ "path": "raced", "content": client.to_string(), "if_match": etag }).to_string();
        start.wait();
        connection.try_post("file/write", &request)
    };
    let statuses: Result<Vec<_>> = thread::scope(|scope| {
        let threads = clients.iter_mut().enumerate().map(|(client, connection)| scope.spawn(move || write(client, connection)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?).collect()
    });
    let statuses = statuses?;
    ensure!(statuses.iter().all(|status| matches!(status, 200 | 412)), "the writes were answered with {statuses:?}");
    Ok(statuses.iter().filter(|status| **status == 200).count() as u64)
}
