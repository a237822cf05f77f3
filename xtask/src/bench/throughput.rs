//! Short commands from many clients at once, beside a loop on every processor that does nothing but start such commands.

use super::Bench;
use super::agent::{Agent, SEARCH_PATH};
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use anyhow::{Context, Result, anyhow, ensure};
use std::process::{Command, Stdio};
use std::thread;

const CLIENTS: usize = 16;
/// Commands of each client in one round.
const COMMANDS: usize = 150;
/// The agent and the bare loop take turns, so that both see the same machine.
const ROUNDS: usize = 7;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.agent()?;
    let loops = thread::available_parallelism().context("count the processors")?.get();
    let (mut clients, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        clients.time(|| in_parallel(CLIENTS, || ask(&agent)))?;
        bare.time(|| in_parallel(loops, || spawn(CLIENTS * COMMANDS / loops)))?;
    }
    let frequency = |time| Quantity::frequency(CLIENTS * COMMANDS, time);
    let row = Row::new(r#"exec ["true"], 16 clients at once"#, frequency(clients.p50()))
        .p95(frequency(clients.p95()))
        .against("posix_spawn, wait, on all cores", frequency(bare.p50()))
        .target(Target::Share(0.8));
    Ok(vec![row])
}

/// Does this on so many threads at once, and waits for all.
pub(super) fn in_parallel(threads: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

fn ask(agent: &Agent) -> Result<()> {
    let mut connection = agent.connect()?;
    (0..COMMANDS).try_for_each(|_| connection.run(r#"["true"]"#))
}

fn spawn(count: usize) -> Result<()> {
    let mut command = Command::new("/usr/bin/true");
    command.env_clear().env("PATH", SEARCH_PATH).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for _ in 0..count {
        ensure!(command.status().context("run by hand")?.success(), "true failed");
    }
    Ok(())
}
