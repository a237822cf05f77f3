//! Clients that write one file at once, each on condition that it is the version that all of them know: one wins, and no other.

use super::Bench;
use super::connection::{Connection, JSON};
use super::quantity::Quantity;
use super::row::{Row, Target};
use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};
use std::sync::Barrier;
use std::thread;

const CLIENTS: usize = 16;
const ROUNDS: usize = 1_000;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.agent()?;
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| agent.connect()).collect::<Result<_>>()?;
    clients[0].post("file/write", r#"{"path":"raced","content":"start"}"#, JSON)?;
    let winners: Vec<_> = (0..ROUNDS).map(|_| round(&mut clients)).collect::<Result<_>>()?;
    let one = Quantity::Count(1);
    let count = |winners: Option<&u64>| Quantity::Count(winners.copied().unwrap_or_default());
    let name = "If-Match race of 16, 1,000 rounds: winners, at least";
    Ok(vec![
        Row::new(name, count(winners.iter().min())).target(Target::AtLeast(one)),
        Row::new("  and at most", count(winners.iter().max())).target(Target::AtMost(one)),
    ])
}

/// All learn which version there is, then all write; gives how many could.
fn round(clients: &mut [Connection]) -> Result<u64> {
    let stat = clients[0].post("file/stat", r#"{"path":"raced"}"#, JSON)?;
    let etag = serde_json::from_slice::<Value>(stat.tail())?["etag"].take();
    let start = Barrier::new(clients.len());
    let write = &|client: usize, connection: &mut Connection| {
        let request = json!({ "path": "raced", "content": client.to_string(), "if_match": etag }).to_string();
        start.wait();
        connection.attempt("file/write", &request)
    };
    let statuses: Result<Vec<_>> = thread::scope(|scope| {
        let threads = clients.iter_mut().enumerate().map(|(client, connection)| scope.spawn(move || write(client, connection)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?).collect()
    });
    let statuses = statuses?;
    ensure!(statuses.iter().all(|status| matches!(status, 200 | 412)), "clients are told {statuses:?}");
    Ok(statuses.iter().filter(|status| **status == 200).count() as u64)
}
