//! Clients that read little: many that wait for a silent process, and one that stops reading.

use crate::Bench;
use crate::agent::Agent;
use crate::connection::{Connection, JSON};
use crate::quantity::Quantity;
use crate::row::Row;
use anyhow::{Result, bail};
use std::thread;
use std::time::{Duration, Instant};

/// Readers of the silent process at once.
const READERS: u64 = 1_000;
const SILENT: &str = r#"{"command":["sleep","1000000"],"detach":true,"name":"silent"}"#;
const ATTACH: &str = r#"{"process":"silent"}"#;
/// Endless output that takes six times its size in JSON, which is the most there is.
const ENDLESS: &str = r#"{"command":["cat","/dev/zero"]}"#;
/// An agent that uses no processor time for so long waits for its client.
const QUIET: Duration = Duration::from_millis(500);
/// Longest time until then.
const QUIET_TIMEOUT: Duration = Duration::from_secs(30);

/// Memory for each reader of a silent process.
pub(crate) fn idle(bench: &Bench) -> Result<Vec<Row>> {
    let connection = growth_per_connection(bench, |mut connection| {
        connection.get("/health")?;
        Ok(connection)
    })?;
    let stream = growth_per_connection(bench, |mut connection| {
        connection.open_stream("process/attach", ATTACH)?;
        Ok(connection)
    })?;
    let socket = growth_per_connection(bench, |connection| {
        let mut socket = connection.upgrade()?;
        socket.send("process.attach", ATTACH)?;
        socket.receive()?;
        Ok(socket)
    })?;
    let row = |name, growth| Row::new(name, growth).baseline("a connection kept open", connection);
    let most = Quantity::kibibytes(64);
    Ok(vec![
        row("an idle attached stream of 1,000, NDJSON", stream).at_most(most),
        row("  the same, a WebSocket each", socket).at_most(most),
    ])
}

/// Memory for the endless output that a client does not read.
pub(crate) fn stalled(bench: &Bench) -> Result<Vec<Row>> {
    let ndjson = growth_until_quiet(&bench.start_agent()?, |agent| {
        let mut connection = agent.connect()?;
        connection.open_stream("exec", ENDLESS)?;
        Ok(connection)
    })?;
    let websocket = growth_until_quiet(&bench.start_agent()?, |agent| {
        let mut socket = agent.connect()?.upgrade()?;
        socket.send("exec", ENDLESS)?;
        socket.receive()?;
        Ok(socket)
    })?;
    let most = Quantity::mebibytes(4);
    Ok(vec![
        Row::new("a reader that stalls, NDJSON", ndjson).at_most(most),
        Row::new("a reader that stalls, WebSocket", websocket).at_most(most),
    ])
}

/// The memory that an agent takes for each connection that `open` has prepared.
fn growth_per_connection<T>(bench: &Bench, open: impl Fn(Connection) -> Result<T>) -> Result<Quantity> {
    let agent = bench.start_agent()?;
    agent.connect()?.post("exec", SILENT, JSON)?;
    let before = agent.resident_bytes()?;
    let open = (0..READERS).map(|_| open(agent.connect()?)).collect::<Result<Vec<_>>>()?;
    let growth = agent.resident_bytes()?.saturating_sub(before);
    drop(open);
    Ok(Quantity::Size(growth / READERS))
}

/// The most memory that the agent takes until it waits for the client that `start` returns.
fn growth_until_quiet<T>(agent: &Agent, start: impl Fn(&Agent) -> Result<T>) -> Result<Quantity> {
    let before = agent.resident_bytes()?;
    let client = start(agent)?;
    wait_until_quiet(agent)?;
    drop(client);
    Ok(Quantity::Size(agent.growth_since(before)?))
}

fn wait_until_quiet(agent: &Agent) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < QUIET_TIMEOUT {
        let before = agent.cpu_time()?;
        thread::sleep(QUIET);
        if agent.cpu_time()? == before {
            return Ok(());
        }
    }
    bail!("the agent works on for a client that does not read")
}
