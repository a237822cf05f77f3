//! Everything that callers do, mixed, for as long as the row may run, and what the agent holds meanwhile.

mod drift;
mod operations;

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use futures_util::future::{join, join_all};

use super::{
    budget::Budget,
    latencies::{Latencies, milliseconds},
    process::{Process, mebibytes},
};
use crate::{Sandbox, agent::Agent, until};
use drift::Drift;
use operations::Client;

/// Clients at once.
const CLIENTS: u64 = 8;
/// One operation of so many is killed.
const KILLED: u64 = 1_000;
/// How long the agent may grow at first, where there is time enough: its buffers and tables become as large as they are needed.
const WARM_UP: Duration = Duration::from_secs(90);
/// How often the agent is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The most that the agent may grow by over the time that is looked at, along the line through all that was seen.
const GROWTH_KIB: f64 = 4_096.0;
/// The same of its spool: a page of each of the processes that are being heard.
const SPOOL_KIB: f64 = 1_024.0;
/// The same of its descriptors: they come and go with connections.
const DESCRIPTORS: f64 = 8.0;

pub(super) async fn run(budget: &Budget) -> String {
    let sandbox = Sandbox::of_agent(Agent::start(&[], &[]));
    let agent = Process::agent_of(&sandbox).await;
    let (count, killed, over) = (Cell::new(0), Cell::new(0), Cell::new(false));
    let latencies = RefCell::new([Latencies::default(), Latencies::default()]);
    let slowest = Cell::new((Duration::ZERO, ""));
    let started = Instant::now();
    let share = budget.time_left();
    let warm_up = (share / 3).max(WARM_UP.min(share * 2 / 3));
    let middle = (share + warm_up) / 2;
    let work = join_all((0..CLIENTS).map(async |number| {
        let mut client = Client::new(&sandbox, number).await;
        while !budget.is_over() {
            let round = count.replace(count.get() + 1);
            if round % KILLED == KILLED - 1 {
                client.kill(round / KILLED).await;
                killed.set(killed.get() + 1);
                continue;
            }
            let mut own = Latencies::default();
            let name = own.time(client.operate(round)).await;
            slowest.set(slowest.get().max((own.longest(), name)));
            let elapsed = started.elapsed();
            if elapsed > warm_up {
                latencies.borrow_mut()[usize::from(elapsed > middle)].extend(own);
            }
            budget.count_seconds(started);
        }
        client.end().await;
    }));
    let work = async {
        work.await;
        over.set(true);
    };
    let mut drift = Drift::default();
    let look = async {
        while !over.get() {
            tokio::time::sleep(LOOK).await;
            if started.elapsed() > warm_up && !budget.is_over() {
                drift.look(agent);
            }
        }
    };
    join(work, look).await;
    until("no zombie is left", async || agent.zombies() == 0).await;
    assert_eq!(sandbox.shell("find . -name '.cabana*'").await, "", "temporary files are left");
    drift.check();
    let [before, after] = latencies.into_inner().map(|part| milliseconds(part.p99()));
    let (memory, peak) = (drift.memory_kib(), mebibytes(agent.peak_kib()));
    let (longest, name) = slowest.get();
    format!(
        "{} operations, {} killed; memory {memory:+.0} KiB along the line, peak {peak}; p99 {before}, then {after}; slowest {} ({name})",
        count.get(),
        killed.get(),
        milliseconds(longest)
    )
}
