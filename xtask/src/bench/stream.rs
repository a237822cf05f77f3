//! A command that prints a lot, read as it comes.

use super::Bench;
use super::agent::Agent;
use super::connection::NDJSON;
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use anyhow::{Context, Result, ensure};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes that are printed.
const SIZE: u64 = 100_000_000;
const RUNS: usize = 9;
/// Lines of text that are told apart.
const LINES: usize = 20_000;
/// Bytes read at once by hand: what a pipe holds.
const PIPE: usize = 64 << 10;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut random = vec![0; 1 << 20];
    getrandom::fill(&mut random).context("make noise")?;
    let text = bench.scratch.file("text", SIZE, &lines())?;
    let noise = bench.scratch.file("noise", SIZE, &random)?;
    let (mut rows, fast) = (Vec::new(), Target::AtLeast(Quantity::megabytes_per_second(500)));
    let lines = Streamed::of(bench, &text, over_http)?;
    rows.push(lines.rate("stream 100 MB of text").target(fast).incumbent("154 MB/s"));
    rows.push(lines.growth().target(Target::AtMost(Quantity::mebibytes(16))).incumbent("240 MiB"));
    let lines = Streamed::of(bench, &noise, over_http)?;
    rows.extend([lines.rate("stream 100 MB of noise (base64)"), lines.growth()]);
    let frames = Streamed::of(bench, &text, over_websocket)?;
    rows.extend([frames.rate("100 MB of text to a WebSocket").target(fast), frames.growth()]);
    let frames = Streamed::of(bench, &noise, over_websocket)?;
    rows.extend([frames.rate("100 MB of noise to a WebSocket"), frames.growth()]);
    Ok(rows)
}

/// Runs the command, and gives the length of what came back.
type Way = fn(&Agent, &str) -> Result<u64>;

fn over_http(agent: &Agent, command: &str) -> Result<u64> {
    let answer = agent.connect()?.exec(command, NDJSON)?;
    ensure!(answer.tail().windows(15).any(|part| part == br#""type":"result""#), "the stream has no result");
    Ok(answer.length)
}

fn over_websocket(agent: &Agent, command: &str) -> Result<u64> {
    let command = format!("{{\"command\":{command}}}");
    agent.connect()?.upgrade()?.carry_out("exec", &command)
}

/// Lines of 60 to 100 characters, as programs print them: some have quotes, tabs, and characters beyond ASCII.
fn lines() -> Vec<u8> {
    const WORDS: [&str; 8] =
        ["compiling", "src/process/owner.rs:12", "warning:", "in 3.14 s", "(cached)", "\"name\",", "test", "…"];
    let mut text = String::new();
    for number in 0..LINES {
        let start = text.len();
        text.push_str(&format!("{number:>8}"));
        for word in 0.. {
            if text.len() - start > 60 + number % 20 {
                break;
            }
            text.push(if word == 0 && number % 8 == 0 { '\t' } else { ' ' });
            text.push_str(WORDS[(number + word * (1 + number % 7)) % WORDS.len()]);
        }
        text.push('\n');
    }
    text.into_bytes()
}

/// What came of streaming one file.
struct Streamed {
    exec: Samples,
    pipe: Samples,
    growth: u64,
}

impl Streamed {
    fn of(bench: &Bench, file: &Path, way: Way) -> Result<Self> {
        let agent = bench.agent()?;
        let before = agent.resident()?;
        let command = format!(r#"["cat","{}"]"#, file.display());
        let (mut exec, mut pipe) = (Samples::default(), Samples::default());
        for _ in 0..RUNS {
            let length = exec.time(|| way(&agent, &command))?;
            ensure!(length > SIZE, "{length} bytes are not all of it");
            let length = pipe.time(|| read_through_pipe(file))?;
            ensure!(length == SIZE, "cat printed {length} bytes");
        }
        Ok(Self { exec, pipe, growth: agent.peak()?.saturating_sub(before) })
    }

    fn rate(&self, name: &'static str) -> Row {
        let rate = |time| Quantity::rate(SIZE, time);
        Row::new(name, rate(self.exec.p50())).p95(rate(self.exec.p95())).against("cat through a pipe", rate(self.pipe.p50()))
    }

    fn growth(&self) -> Row {
        Row::new("  memory it takes meanwhile", Quantity::Size(self.growth))
    }
}

fn read_through_pipe(file: &Path) -> Result<u64> {
    let mut cat = Command::new("cat").arg(file).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start cat")?;
    let mut pipe = cat.stdout.take().context("cat has no output")?;
    let (mut buffer, mut length) = (vec![0; PIPE], 0);
    while let count @ 1.. = pipe.read(&mut buffer)? {
        length += count as u64;
    }
    cat.wait().context("wait for cat")?;
    Ok(length)
}
