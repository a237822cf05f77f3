//! WebSockets through the whole stack: what Worker and Durable Object add to the agent alone.

use super::Bench;
use super::agent::resident;
use super::connection::{Service, Socket};
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use crate::dev::client::Client;
use crate::dev::stack::Stack;
use crate::guard::stray;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::thread;
use std::time::Duration;

/// Operations whose time is taken.
const OPERATIONS: usize = 1_000;
/// Sockets on one sandbox at once.
const SOCKETS: u64 = 1_000;
/// How long an object must be left alone until workerd takes it out of memory, and a little more.
const HIBERNATION: Duration = Duration::from_secs(15);
/// Bytes of text that are printed, and how often.
const SIZE: u64 = 100_000_000;
const RUNS: usize = 5;
/// How long a client reads nothing that is sent text without end.
const STALL: Duration = Duration::from_secs(3);
const STAT: &str = r#"{"path":"."}"#;
const ENDLESS: &str = r#"{"command":"yes compiling src/process/owner.rs:12"}"#;

pub(super) fn measure(bench: &Bench, stack: &Stack, client: &Client) -> Result<Vec<Row>> {
    let sandbox = client.create()?;
    client.exec(&sandbox, &format!("yes 'compiling src/process/owner.rs:12' | head -c {SIZE} > text"))?;
    let address = stack.url().trim_start_matches("http://").parse().context("the stack's URL has no address")?;
    let service = Service { address, base: format!("/v1/sandboxes/{sandbox}"), key: stack.api_key().to_owned() };
    let rows = [latency(bench, &service)?, throughput(&service)?, stalled(stack, &service)?, crowd(stack, &service)?].concat();
    client.destroy(&sandbox)?;
    Ok(rows)
}

fn latency(bench: &Bench, service: &Service) -> Result<Vec<Row>> {
    let alone = operations(bench.agent()?.connect()?.upgrade()?)?;
    let through = operations(service.connect()?.upgrade()?)?;
    let added = Quantity::Time(through.p50().saturating_sub(alone.p50()));
    Ok(vec![
        Row::new("a WebSocket operation through the stack", Quantity::Time(through.p50()))
            .p95(Quantity::Time(through.p95()))
            .against("the agent alone", Quantity::Time(alone.p50())),
        Row::new("  what Worker and Durable Object add", added).target(Target::AtMost(Quantity::microseconds(1_500))),
    ])
}

fn operations(mut socket: Socket) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..OPERATIONS {
        samples.time(|| socket.carry_out("file.stat", STAT))?;
    }
    Ok(samples)
}

fn throughput(service: &Service) -> Result<Vec<Row>> {
    let (mut socket, mut http) = (Samples::default(), Samples::default());
    for _ in 0..RUNS {
        let length = socket.time(|| service.connect()?.upgrade()?.carry_out("exec", r#"{"command":"cat text"}"#))?;
        ensure!(length > SIZE, "{length} bytes are not all of it");
        http.time(|| service.connect()?.exec(r#""cat text""#, super::connection::NDJSON))?;
    }
    let rate = |time| Quantity::rate(SIZE, time);
    Ok(vec![Row::new("100 MB of text to a WebSocket, through the stack", rate(socket.p50())).against("NDJSON", rate(http.p50()))])
}

/// What the whole service holds for a client that does not read.
fn stalled(stack: &Stack, service: &Service) -> Result<Vec<Row>> {
    let mut idle = service.connect()?.upgrade()?;
    idle.carry_out("file.stat", STAT)?;
    let before = memory(stack)?;
    let mut socket = service.connect()?.upgrade()?;
    socket.ask("exec", ENDLESS)?;
    socket.receive()?;
    thread::sleep(STALL);
    idle.carry_out("file.stat", STAT).context("another client is held up")?;
    let growth = memory(stack)?.saturating_sub(before);
    let row = Row::new("a reader that stalls, through the stack", Quantity::Size(growth));
    Ok(vec![row.target(Target::AtMost(Quantity::mebibytes(32)))])
}

fn crowd(stack: &Stack, service: &Service) -> Result<Vec<Row>> {
    let before = memory(stack)?;
    let mut sockets = (0..SOCKETS).map(|_| service.connect()?.upgrade()).collect::<Result<Vec<_>>>()?;
    let growth = memory(stack)?.saturating_sub(before);
    thread::sleep(HIBERNATION);
    let mut samples = Samples::default();
    for socket in &mut sockets {
        samples.time(|| socket.carry_out("file.stat", STAT))?;
    }
    let row = Row::new("an idle socket of 1,000 on one sandbox", Quantity::Size(growth / SOCKETS));
    let answer = Row::new("  its first operation after hibernation", Quantity::Time(samples.p50()));
    Ok(vec![row, answer.p95(Quantity::Time(samples.p95()))])
}

/// Memory of workerd, in which Worker and Durable Object are.
fn memory(stack: &Stack) -> Result<u64> {
    let is_workerd = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "workerd");
    let processes = stray::marked(stack.directory()).into_iter().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    processes.filter(is_workerd).map(resident).sum()
}
