//! What it takes to listen to a process that says nothing, for many listeners.

use super::Bench;
use super::connection::{Connection, JSON, Socket};
use super::quantity::Quantity;
use super::row::{Row, Target};
use anyhow::Result;

/// Listeners at once.
const LISTENERS: u64 = 1_000;
/// What they listen to.
const SILENT: &str = r#"{"command":["sleep","1000000"],"detach":true,"name":"silent"}"#;
const ATTACH: &str = r#"{"process":"silent"}"#;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let connection = each(bench, |mut connection| {
        connection.get("/health")?;
        Ok(connection)
    })?;
    let stream = each(bench, |mut connection| {
        connection.listen("process/attach", ATTACH)?;
        Ok(connection)
    })?;
    let socket = each(bench, attach_over_websocket)?;
    let row = |name, measured| Row::new(name, measured).against("a connection kept open", connection);
    let target = Target::AtMost(Quantity::kibibytes(64));
    Ok(vec![
        row("an idle attached stream of 1,000, NDJSON", stream).target(target),
        row("  the same, a WebSocket each", socket).target(target),
    ])
}

fn attach_over_websocket(connection: Connection) -> Result<Socket> {
    let mut socket = connection.upgrade()?;
    socket.ask("process.attach", ATTACH)?;
    socket.receive()?;
    Ok(socket)
}

/// How much more memory an agent takes for each connection on which this was done.
fn each<T>(bench: &Bench, open: impl Fn(Connection) -> Result<T>) -> Result<Quantity> {
    let agent = bench.agent()?;
    agent.connect()?.post("exec", SILENT, JSON)?;
    let before = agent.resident()?;
    let open = (0..LISTENERS).map(|_| open(agent.connect()?)).collect::<Result<Vec<_>>>()?;
    let growth = agent.resident()?.saturating_sub(before);
    drop(open);
    Ok(Quantity::Size(growth / LISTENERS))
}
