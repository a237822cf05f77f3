//! Programs that print without end, and clients that do not read.

use std::{cell::RefCell, time::Instant};

use cabana_protocol::{
    exec::{Exec, ExecEvent},
    line::{Line, LineOf},
    process::{Get, SendSignal},
};
use futures_util::{Stream, StreamExt, future::join_all};
use serde_json::json;

use super::{
    budget::Budget,
    latencies::{Latencies, milliseconds},
    process::{Process, mebibytes},
};
use crate::{Sandbox, agent::Agent, until};

const NDJSON: &str = "application/x-ndjson";
/// Who listens to each program and does not read.
const READERS: [(&str, usize); 3] = [("none", 0), ("one", 1), ("many", 64)];
/// Clients that are served meanwhile.
const OTHERS: usize = 2;
/// The most that the agent may grow by: the replay of all processes (32 MiB), and less than 1.5 MiB on the way to each reader.
const GROWTH_KIB: u64 = (32 + 96) << 10;

pub(super) async fn run(budget: &Budget) -> String {
    let sandbox = Sandbox::of_agent(Agent::start(&[], &[]));
    sandbox.put("small", "small").await.success();
    let agent = Process::agent_of(&sandbox).await;
    let before = agent.resident_kib();
    let mut stalled = Vec::new();
    for (name, readers) in READERS {
        sandbox.exec(json!({ "command": ["yes", name], "detach": true, "name": name })).await;
        // Nothing is read of an answer before its first line is asked for.
        let attach = async |_| sandbox.stream_of("process.attach", NDJSON, json!({ "process": name })).await;
        stalled.extend(join_all((0..readers).map(attach)).await);
    }
    let latencies = RefCell::new(Latencies::default());
    let started = Instant::now();
    join_all((0..OTHERS).map(async |number| {
        while !budget.is_over() && budget.done() < budget.full() {
            let mut own = Latencies::default();
            match number {
                0 => assert_eq!(own.time(sandbox.shell("echo quick")).await, "quick\n"),
                _ => assert_eq!(own.time(sandbox.get("small")).await.success(), b"small"),
            }
            let grown = agent.resident_kib().saturating_sub(before);
            assert!(grown < GROWTH_KIB, "the agent has grown by {grown} KiB");
            latencies.borrow_mut().extend(own);
            budget.count_seconds(started);
        }
    }))
    .await;
    let grown = agent.peak_kib().saturating_sub(before);
    let printed = end(&sandbox, stalled.pop().unwrap()).await;
    drop(stalled);
    let latencies = latencies.into_inner();
    let p99 = milliseconds(latencies.p99());
    format!(
        "{p99} p99 of {} others; the agent grew by {}; {} GB printed",
        latencies.count(),
        mebibytes(grown),
        printed / 1_000_000_000
    )
}

/// Ends what prints. A reader that goes on then hears each byte once, or is told that it is gone. Returns how much was printed.
async fn end(sandbox: &Sandbox, mut stalled: impl Stream<Item = LineOf<Exec>> + Unpin) -> u64 {
    for (process, _) in READERS {
        sandbox.call(SendSignal { process: process.to_owned(), signal: "SIGKILL".parse().unwrap() }).await;
    }
    let (mut next, mut gaps) = (0, 0);
    loop {
        match stalled.next().await.expect("a result") {
            Line::Event(ExecEvent::Started { .. }) => {}
            Line::Event(ExecEvent::Gap { from, to }) => {
                assert!(from == next && to > from, "a gap from {from} to {to} behind {next}");
                (next, gaps) = (to, gaps + 1);
            }
            Line::Event(ExecEvent::Stdout { offset, bytes }) => {
                assert_eq!(offset, next);
                next += bytes.0.len() as u64;
            }
            Line::Result(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(gaps > 0, "{next} bytes were heard without a gap");
    assert_eq!(sandbox.call(Get { process: "many".to_owned() }).await.output_bytes, next);
    until("what printed is gone", async || sandbox.count_processes("^yes ").await == 0).await;
    next
}
