//! The output of a command that prints a lot, read as it comes.

use crate::Bench;
use crate::agent::Agent;
use crate::connection::{NDJSON, RAW};
use crate::quantity::Quantity;
use crate::row::{Row, Target};
use crate::samples::Samples;
use anyhow::{Context, Result, ensure};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes that are printed.
const SIZE: u64 = 100_000_000;
const RUNS: usize = 9;
/// Different lines of text.
const LINES: usize = 20_000;
/// Bytes read at once by hand: what a pipe holds.
const PIPE: usize = 64 << 10;

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut random = vec![0; 1 << 20];
    getrandom::fill(&mut random).context("generate noise")?;
    let text = bench.scratch.write("text", SIZE, &lines())?;
    let noise = bench.scratch.write("noise", SIZE, &random)?;
    let (least, least_raw) = (Target::MinimumRatio(0.7), Target::MinimumRatio(0.9));
    let (mut rows, lines) = (Vec::new(), Stream::measure(bench, &text, over_http)?);
    rows.push(lines.throughput("stream 100 MB of text").target(least).incumbent("154 MB/s"));
    rows.push(lines.growth().at_most(Quantity::mebibytes(16)).incumbent("240 MiB"));
    let lines = Stream::measure(bench, &noise, over_http)?;
    rows.extend([lines.throughput("stream 100 MB of noise (base64)"), lines.growth()]);
    let raw = Stream::measure(bench, &noise, over_http_raw)?;
    rows.extend([raw.throughput("stream 100 MB of noise (raw)").target(least_raw), raw.growth()]);
    let frames = Stream::measure(bench, &text, over_websocket)?;
    rows.extend([frames.throughput("100 MB of text to a WebSocket").target(least), frames.growth()]);
    let frames = Stream::measure(bench, &noise, over_websocket)?;
    rows.extend([frames.throughput("100 MB of noise to a WebSocket"), frames.growth()]);
    Ok(rows)
}

/// Runs a command, and returns the bytes of the response.
type Transport = fn(&Agent, &str) -> Result<u64>;

fn over_http(agent: &Agent, command: &str) -> Result<u64> {
    let body = agent.connect()?.exec(command, NDJSON)?;
    ensure!(body.tail().windows(15).any(|part| part == br#""type":"result""#), "the stream ended without a result");
    Ok(body.length())
}

fn over_http_raw(agent: &Agent, command: &str) -> Result<u64> {
    Ok(agent.connect()?.exec(command, RAW)?.length())
}

fn over_websocket(agent: &Agent, command: &str) -> Result<u64> {
    agent.connect()?.upgrade()?.call("exec", &format!("{{\"command\":{command}}}"))
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

/// The streams of one file by one transport, and the reads of it through a pipe.
struct Stream {
    exec: Samples,
    pipe: Samples,
    growth: u64,
}

impl Stream {
    fn measure(bench: &Bench, file: &Path, transport: Transport) -> Result<Self> {
        let agent = bench.start_agent()?;
        let before = agent.resident_bytes()?;
        let command = format!(r#"["cat","{}"]"#, file.display());
        let (mut exec, mut pipe) = (Samples::default(), Samples::default());
        for _ in 0..RUNS {
            let length = exec.time(|| transport(&agent, &command))?;
            ensure!(length >= SIZE, "{length} bytes are less than the command printed");
            let length = pipe.time(|| read_through_pipe(file))?;
            ensure!(length == SIZE, "cat printed {length} of {SIZE} bytes");
        }
        Ok(Self { exec, pipe, growth: agent.growth_since(before)? })
    }

    fn throughput(&self, name: &'static str) -> Row {
        let throughput = |duration| Quantity::throughput(SIZE, duration);
        Row::new(name, throughput(self.exec.p50()))
            .p95(throughput(self.exec.p95()))
            .baseline("cat through a pipe", throughput(self.pipe.p50()))
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

#[cfg(test)]
mod tests {
    #[test]
    fn lines_of_text_have_the_lengths_and_characters_of_real_output() {
        let text = String::from_utf8(super::lines()).unwrap();
        assert_eq!(text.lines().count(), super::LINES);
        assert!(text.lines().all(|line| (60..=110).contains(&line.len())));
        assert!(['\t', '"', '…'].iter().all(|character| text.contains(*character)));
    }
}
