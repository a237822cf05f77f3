//! A process that prints without end, and a client that has stopped to read.

use super::Bench;
use super::agent::Agent;
use super::quantity::Quantity;
use super::row::{Row, Target};
use anyhow::{Result, bail};
use std::thread;
use std::time::{Duration, Instant};

/// What is printed takes six times the room in JSON, which is the most there is.
const ENDLESS: &str = r#"{"command":["cat","/dev/zero"]}"#;
/// An agent that does nothing for so long waits for its client.
const STILL: Duration = Duration::from_millis(500);
/// How long that may take to come about.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let ndjson = growth(&bench.agent()?, |agent| {
        let mut connection = agent.connect()?;
        connection.listen("exec", ENDLESS)?;
        Ok(connection)
    })?;
    let websocket = growth(&bench.agent()?, |agent| {
        let mut socket = agent.connect()?.upgrade()?;
        socket.ask("exec", ENDLESS)?;
        socket.receive()?;
        Ok(socket)
    })?;
    let target = Target::AtMost(Quantity::mebibytes(4));
    Ok(vec![
        Row::new("a reader that stalls, NDJSON", ndjson).target(target),
        Row::new("a reader that stalls, WebSocket", websocket).target(target),
    ])
}

/// How much more memory the agent takes at most until it waits for the client that this gives.
fn growth<T>(agent: &Agent, start: impl Fn(&Agent) -> Result<T>) -> Result<Quantity> {
    let before = agent.resident()?;
    let client = start(agent)?;
    wait_until_still(agent)?;
    drop(client);
    Ok(Quantity::Size(agent.peak()?.saturating_sub(before)))
}

fn wait_until_still(agent: &Agent) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        let busy = agent.busy()?;
        thread::sleep(STILL);
        if agent.busy()? == busy {
            return Ok(());
        }
    }
    bail!("the agent works on for a client that does not read")
}
