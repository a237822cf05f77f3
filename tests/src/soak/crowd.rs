//! As many processes as there may be, and sessions that all run at once.

use std::time::Instant;

use cabana_protocol::process::List;
use futures_util::future::join_all;
use serde_json::json;

use super::{
    budget::Budget,
    latencies::{Latencies, milliseconds},
    process::{AS_INIT, Process},
};
use crate::{Sandbox, agent::Agent, until};

/// Processes that run at once without a refusal.
const PROCESSES: usize = 1_000;
/// Requests for more of them at once: beyond every limit.
const MORE: usize = 100;
/// Processes that are ended at once.
const ENDED: usize = 64;
/// Sessions that run commands at once.
const SESSIONS: usize = 64;

pub(super) async fn run(budget: &Budget) -> String {
    let crowd = crowd().await;
    let sessions = sessions(budget).await;
    format!("{crowd}; {sessions}")
}

/// Starts processes until some are refused, and ends a few.
async fn crowd() -> String {
    let others = Process::own_agents();
    let sandbox = Sandbox::of_agent(Agent::start(AS_INIT, &[]));
    let agent = Process::own_agents().into_iter().find(|process| !others.contains(process)).unwrap();
    let sleep = json!({ "command": ["sleep", "100000"], "detach": true });
    let start = async |_| sandbox.post("exec", sleep.clone()).await;
    for answer in join_all((0..PROCESSES).map(start)).await {
        answer.success();
    }
    let more = join_all((0..MORE).map(start)).await;
    let refused: Vec<_> = more.iter().filter(|answer| !answer.status.is_success()).collect();
    assert!(!refused.is_empty(), "there is no limit");
    for answer in &refused {
        assert_eq!(answer.code(), "too_many_requests");
        assert!(answer.header("retry-after").is_some(), "nothing says when to come again");
        assert!(answer.json()["error"]["details"]["limit"].is_u64(), "{}", answer.json());
    }
    let running = sandbox.call(List::default()).await.processes;
    assert!(running.len() >= PROCESSES, "{} run", running.len());
    let since = Instant::now();
    join_all(running[..ENDED].iter().map(async |process| {
        let signal = json!({ "process": process.process, "signal": "SIGKILL" });
        sandbox.post("process.signal", signal).await.success();
    }))
    .await;
    until("there is room", async || sandbox.post("exec", json!({ "command": "true" })).await.status == 200).await;
    let ended = milliseconds(since.elapsed());
    // To end each of the others by itself would take most of the row's time: for each, the agent looks at all.
    agent.signal("KILL");
    format!("{} refused for now; {ENDED} of {} ended in {ended}", refused.len(), running.len())
}

/// Runs commands in many sessions at once.
async fn sessions(budget: &Budget) -> String {
    let sandbox = Sandbox::of_agent(Agent::start(&[], &[]));
    let sessions = join_all((0..SESSIONS).map(async |_| {
        let created = sandbox.post("session.create", json!({})).await;
        created.json()["session"].as_str().unwrap().to_owned()
    }))
    .await;
    let started = Instant::now();
    let runs = join_all(sessions.iter().map(async |session| {
        let mut latencies = Latencies::default();
        while !budget.is_over() && budget.done() < budget.full() {
            let output = latencies.time(sandbox.exec(json!({ "command": "true", "session": session }))).await;
            assert!(output.result.success(), "{output:?}");
            budget.count_seconds(started);
        }
        latencies
    }));
    let mut latencies = Latencies::default();
    runs.await.into_iter().for_each(|session| latencies.extend(session));
    let (count, p99) = (latencies.count(), milliseconds(latencies.p99()));
    format!("0 errors in {count} commands of {SESSIONS} sessions, p99 {p99}")
}
