//! Many sandboxes that are used at once, while nobody gets at the database that all of them share.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream};
use serde_json::json;

use super::{
    budget::Budget,
    database::Held,
    latencies::{Latencies, milliseconds},
    process::available_kib,
};
use crate::Sandbox;

/// Sandboxes that are started at once.
const STARTING: usize = 4;
/// Clients that use sandboxes, or end them, at once.
const CLIENTS: usize = 16;
/// How long they use one sandbox, and then all of them.
const SPAN: Duration = Duration::from_secs(10);
/// Memory that is left to the rest of the machine.
const RESERVE_KIB: u64 = 3 << 20;

pub(super) async fn run(budget: &Budget) -> String {
    let sandboxes = start(budget).await;
    // What was started last is still written down.
    sandboxes[0].shell("true").await;
    let held = Held::take();
    let (one, alone) = hammer(&sandboxes[..1], SPAN).await;
    // Once each before the time is taken: an agent that was idle is looked at before its first request.
    hammer(&sandboxes, Duration::ZERO).await;
    let (many, together) = hammer(&sandboxes, SPAN).await;
    drop(held);
    let count = sandboxes.len();
    stream::iter(sandboxes).for_each_concurrent(CLIENTS, Sandbox::destroy).await;
    let rate = |latencies: &Latencies, time: Duration| latencies.count() as f64 / time.as_secs_f64();
    let (alone, together, p99) = (rate(&one, alone), rate(&many, together), milliseconds(many.p99()));
    format!("{together:.0}/s over {count} sandboxes, p99 {p99}, with the database locked; {alone:.0}/s on one")
}

/// Starts sandboxes until all are there, half of the time is over, or the memory is used.
async fn start(budget: &Budget) -> Vec<Sandbox> {
    let (half, sandboxes) = (budget.time_left() / 2, RefCell::new(Vec::new()));
    join_all((0..STARTING).map(async |_| {
        while sandboxes.borrow().is_empty() || budget.time_left() > half && available_kib() > RESERVE_KIB {
            let Some(number) = budget.begin() else { break };
            let sandbox = Sandbox::create().await;
            assert_eq!(sandbox.shell(&format!("echo {number} | tee number")).await, format!("{number}\n"));
            sandboxes.borrow_mut().push(sandbox);
            budget.finish();
        }
    }))
    .await;
    sandboxes.into_inner()
}

/// Uses the sandboxes in turn, by many clients, for so long, each sandbox once at least. Returns how long it was.
async fn hammer(sandboxes: &[Sandbox], span: Duration) -> (Latencies, Duration) {
    let (next, latencies, started) = (Cell::new(0), RefCell::new(Latencies::default()), Instant::now());
    join_all((0..CLIENTS).map(async |_| {
        while started.elapsed() < span || next.get() < sandboxes.len() {
            let sandbox = &sandboxes[next.replace(next.get() + 1) % sandboxes.len()];
            let mut own = Latencies::default();
            let answer = own.time(sandbox.post("file.stat", json!({ "path": "number" }))).await;
            assert_eq!(answer.header("server-timing"), None, "a query was waited for");
            answer.success();
            latencies.borrow_mut().extend(own);
        }
    }))
    .await;
    (latencies.into_inner(), started.elapsed())
}
