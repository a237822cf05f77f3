//! Small files, read and written over HTTP.

use super::Bench;
use super::connection::{Connection, JSON};
use super::loopback;
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

/// Bytes of the file.
const SIZE: usize = 1 << 10;
/// Runs of each; they alternate, so that all see the same machine.
const RUNS: usize = 2_000;
const TARGET: &str = "/v1/files?path=small";

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.agent()?;
    let mut connection = agent.connect()?;
    // Content first: it is there to be read then.
    let mut rows = write(&mut connection, bench.scratch.path())?;
    rows.splice(..0, read(&mut connection, &bench.scratch.path().join("small"))?);
    Ok(rows)
}

fn read(connection: &mut Connection, file: &Path) -> Result<Vec<Row>> {
    let (mut get, mut call, mut bare) = (Samples::default(), Samples::default(), Samples::default());
    loopback::exchange(
        |_| fs::read(file).context("read the file"),
        |mut stream| {
            for _ in 0..RUNS {
                let answer = get.time(|| connection.get(TARGET))?;
                ensure!(answer.length == SIZE as u64, "{} bytes are not all of it", answer.length);
                call.time(|| connection.post("file/read", r#"{"path":"small"}"#, JSON))?;
                bare.time(|| ask(&mut stream, b"?", SIZE))?;
            }
            Ok(())
        },
    )?;
    let peer = "read by a thread, over loopback";
    Ok(vec![row("file of 1 KiB: GET", &get, peer, &bare), row("  file.read", &call, peer, &bare)])
}

fn write(connection: &mut Connection, directory: &Path) -> Result<Vec<Row>> {
    let (mut put, mut call, mut bare) = (Samples::default(), Samples::default(), Samples::default());
    let (fresh, place, content) = (directory.join("fresh"), directory.join("by-hand"), vec![b'x'; SIZE]);
    let request = format!(r#"{{"path":"small","content":"{}"}}"#, "x".repeat(SIZE));
    loopback::exchange(
        |content| {
            fs::write(&fresh, content).and_then(|()| fs::rename(&fresh, &place)).context("write the file")?;
            Ok(b"!".to_vec())
        },
        |mut stream| {
            for _ in 0..RUNS {
                put.time(|| connection.put(TARGET, SIZE as u64, &content))?;
                call.time(|| connection.post("file/write", &request, JSON))?;
                bare.time(|| ask(&mut stream, &content, 1))?;
            }
            Ok(())
        },
    )?;
    let peer = "written by a thread, over loopback";
    Ok(vec![row("file of 1 KiB: PUT", &put, peer, &bare), row("  file.write", &call, peer, &bare)])
}

/// Sends a question, and takes in an answer of this length.
fn ask(stream: &mut TcpStream, question: &[u8], length: usize) -> Result<()> {
    stream.write_all(question)?;
    Ok(stream.read_exact(&mut [0; SIZE][..length])?)
}

fn row(name: &'static str, agent: &Samples, peer: &'static str, bare: &Samples) -> Row {
    Row::new(name, Quantity::Time(agent.p50()))
        .p95(Quantity::Time(agent.p95()))
        .against(peer, Quantity::Time(bare.p50()))
        .target(Target::AtMost(Quantity::microseconds(150)))
}
