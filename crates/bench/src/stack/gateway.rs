//! WebSockets through the whole stack: what Worker and Durable Object add to the agent alone.

use super::Stack;
use super::client::Client;
use crate::Bench;
use crate::connection::{NDJSON, Service, Socket};
use crate::quantity::Quantity;
use crate::row::Row;
use crate::samples::Samples;
use anyhow::{Context, Result, ensure};
use std::thread;
use std::time::Duration;

/// Timed operations.
const OPERATIONS: usize = 1_000;
/// Sockets on one sandbox at once.
const SOCKETS: u64 = 1_000;
/// The idle time after which workerd evicts an object, and a little more.
const EVICTION: Duration = Duration::from_secs(15);
/// Bytes of text that are printed.
const SIZE: u64 = 100_000_000;
const RUNS: usize = 5;
/// How long a client does not read endless text.
const STALL: Duration = Duration::from_secs(3);
const STAT: &str = r#"{"path":"."}"#;
const ENDLESS: &str = r#"{"command":"yes compiling src/process/owner.rs:12"}"#;

pub(super) fn measure(bench: &Bench, stack: &Stack, client: &Client) -> Result<Vec<Row>> {
    let sandbox = client.create()?;
    client.exec(&sandbox, &format!("yes 'compiling src/process/owner.rs:12' | head -c {SIZE} > text"))?;
    let address = stack.url.trim_start_matches("http://").parse().with_context(|| format!("{} has no address", stack.url))?;
    let service = Service { address, base: format!("/v1/sandboxes/{sandbox}"), key: stack.api_key.clone() };
    let rows = [latency(bench, &service)?, throughput(&service)?, stalled(stack, &service)?, idle(stack, &service)?].concat();
    client.destroy(&sandbox)?;
    Ok(rows)
}

fn latency(bench: &Bench, service: &Service) -> Result<Vec<Row>> {
    let agent = bench.start_agent()?;
    let alone = time_operations(agent.connect()?.upgrade()?)?;
    let through = time_operations(service.connect()?.upgrade()?)?;
    let added = Quantity::Duration(through.p50().saturating_sub(alone.p50()));
    Ok(vec![
        Row::latency("a WebSocket operation through the stack", &through)
            .baseline("the agent alone", Quantity::Duration(alone.p50())),
        Row::new("  what Worker and Durable Object add", added).at_most(Quantity::microseconds(1_500)),
    ])
}

fn time_operations(mut socket: Socket) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..OPERATIONS {
        samples.time(|| socket.call("file.stat", STAT))?;
    }
    Ok(samples)
}

fn throughput(service: &Service) -> Result<Vec<Row>> {
    let (mut socket, mut http) = (Samples::default(), Samples::default());
    for _ in 0..RUNS {
        let length = socket.time(|| service.connect()?.upgrade()?.call("exec", r#"{"command":"cat text"}"#))?;
        ensure!(length > SIZE, "{length} bytes are less than the command printed");
        http.time(|| service.connect()?.exec(r#""cat text""#, NDJSON))?;
    }
    let throughput = |samples: Samples| Quantity::throughput(SIZE, samples.p50());
    let row = Row::new("100 MB of text to a WebSocket, through the stack", throughput(socket));
    Ok(vec![row.baseline("NDJSON", throughput(http))])
}

/// The memory of the service for a client that does not read.
fn stalled(stack: &Stack, service: &Service) -> Result<Vec<Row>> {
    let mut other = service.connect()?.upgrade()?;
    other.call("file.stat", STAT)?;
    let before = stack.resident_bytes()?;
    let mut socket = service.connect()?.upgrade()?;
    socket.send("exec", ENDLESS)?;
    socket.receive()?;
    thread::sleep(STALL);
    other.call("file.stat", STAT).context("call on another socket while one stalls")?;
    let growth = stack.resident_bytes()?.saturating_sub(before);
    let row = Row::new("a reader that stalls, through the stack", Quantity::Size(growth));
    Ok(vec![row.at_most(Quantity::mebibytes(32))])
}

fn idle(stack: &Stack, service: &Service) -> Result<Vec<Row>> {
    let before = stack.resident_bytes()?;
    let mut sockets = (0..SOCKETS).map(|_| service.connect()?.upgrade()).collect::<Result<Vec<_>>>()?;
    let growth = stack.resident_bytes()?.saturating_sub(before);
    thread::sleep(EVICTION);
    let mut samples = Samples::default();
    for socket in &mut sockets {
        samples.time(|| socket.call("file.stat", STAT))?;
    }
    Ok(vec![
        Row::new("an idle socket of 1,000 on one sandbox", Quantity::Size(growth / SOCKETS)),
        Row::latency("  its first operation after hibernation", &samples),
    ])
}
