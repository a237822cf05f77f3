//! Short commands: their latency, their throughput, and what many of them leave behind.

use crate::agent::Agent;
use crate::connection::Connection;
use crate::quantity::Quantity;
use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::{Bench, SEARCH_PATH};
use anyhow::{Context, Result, anyhow, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Runs of each command; the three ways to run it alternate, so that all see the same machine.
const RUNS: usize = 1_000;
/// Clients at once.
const CLIENTS: usize = 16;
/// Commands of each client in one round of the throughput.
const COMMANDS: usize = 150;
/// Rounds of the throughput; the agent and the bare loop alternate.
const ROUNDS: usize = 7;
/// Commands of each client before leaks are counted.
const COMMANDS_OF_LEAKS: usize = 100_000 / CLIENTS;
/// How long the agent has to notice that clients have disconnected.
const SETTLING: Duration = Duration::from_millis(500);
/// Time between two counts until then.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
const TRUE: &str = r#"["true"]"#;

/// One client's short commands, beside the same commands started by hand.
pub(crate) fn latency(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.start_agent()?;
    let mut connection = agent.connect()?;
    let directory = bench.scratch.path();
    let nothing = ShortCommand { program: "/usr/bin/true", arguments: &[], json: TRUE, directory };
    let echo = ShortCommand { program: "/bin/bash", arguments: &["-c", "echo hi"], json: r#""echo hi""#, directory };
    let (nothing, echo) = (nothing.compare(&mut connection)?, echo.compare(&mut connection)?);
    let output = |durations: &Durations| Quantity::Duration(durations.output.p50());
    let status = |durations: &Durations| Quantity::Duration(durations.status.p50());
    let (read, plain) = ("posix_spawn, output read, wait", "posix_spawn, wait");
    Ok(vec![
        Row::latency(r#"exec ["true"]"#, &nothing.exec)
            .baseline(read, output(&nothing))
            .target(Target::MaximumRatio(1.2))
            .incumbent("2.1 ms"),
        Row::latency("  the same beside the plainest", &nothing.exec).baseline(plain, status(&nothing)),
        Row::latency(r#"exec "echo hi""#, &echo.exec).baseline(read, output(&echo)).target(Target::MaximumRatio(1.3)),
        Row::latency("  the same beside the plainest", &echo.exec).baseline(plain, status(&echo)),
    ])
}

/// Many clients' short commands, beside a loop on every processor that only starts such commands.
pub(crate) fn throughput(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.start_agent()?;
    let loops = thread::available_parallelism().context("count the processors")?.get();
    let (mut clients, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        clients.time(|| in_parallel(CLIENTS, || run_commands(&agent, COMMANDS)))?;
        bare.time(|| in_parallel(loops, || spawn_commands(CLIENTS * COMMANDS / loops)))?;
    }
    let frequency = |duration| Quantity::frequency(CLIENTS * COMMANDS, duration);
    let row = Row::new(r#"exec ["true"], 16 clients at once"#, frequency(clients.p50()))
        .p95(frequency(clients.p95()))
        .baseline("posix_spawn, wait, on all cores", frequency(bare.p50()))
        .target(Target::MinimumRatio(0.85));
    Ok(vec![row])
}

/// Memory, zombies and descriptors after 100,000 commands.
pub(crate) fn leaks(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.start_agent()?;
    let (resident, descriptors) = (agent.resident_bytes()?, minimum_while_settling(|| agent.descriptors())?);
    in_parallel(CLIENTS, || run_commands(&agent, COMMANDS_OF_LEAKS))?;
    let growth = agent.resident_bytes()?.saturating_sub(resident);
    let leaked = |name, count| Row::new(name, Quantity::Count(count)).at_most(Quantity::Count(0));
    Ok(vec![
        Row::new("100,000 execs: more memory than at first", Quantity::Size(growth)).at_most(Quantity::mebibytes(4)),
        leaked("  zombies left", minimum_while_settling(|| agent.zombies())?),
        leaked("  open descriptors left", minimum_while_settling(|| agent.descriptors())?.saturating_sub(descriptors)),
    ])
}

/// Runs `work` on this many threads at once, and waits for all.
pub(crate) fn in_parallel(threads: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

fn run_commands(agent: &Agent, count: usize) -> Result<()> {
    let mut connection = agent.connect()?;
    (0..count).try_for_each(|_| connection.run(TRUE))
}

fn spawn_commands(count: usize) -> Result<()> {
    let mut command = Command::new("/usr/bin/true");
    command.env_clear().env("PATH", SEARCH_PATH).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for _ in 0..count {
        ensure!(command.status().context("run true")?.success(), "true failed");
    }
    Ok(())
}

fn minimum_while_settling(count: impl Fn() -> Result<u64>) -> Result<u64> {
    let (started, mut minimum) = (Instant::now(), count()?);
    while started.elapsed() < SETTLING {
        thread::sleep(POLL_INTERVAL);
        minimum = minimum.min(count()?);
    }
    Ok(minimum)
}

/// A command, for the agent and by hand.
struct ShortCommand<'a> {
    program: &'a str,
    arguments: &'a [&'a str],
    json: &'a str,
    directory: &'a Path,
}

/// How long each way to run it took.
#[derive(Default)]
struct Durations {
    exec: Samples,
    /// By hand, the output read to its end: the least that such a call must do.
    output: Samples,
    /// By hand, the output discarded by the kernel.
    status: Samples,
}

impl ShortCommand<'_> {
    fn compare(&self, connection: &mut Connection) -> Result<Durations> {
        let mut durations = Durations::default();
        for _ in 0..RUNS {
            durations.exec.time(|| connection.run(self.json))?;
            durations.output.time(|| self.command().output().context("run by hand"))?;
            let mut discarding = self.command();
            discarding.stdout(Stdio::null()).stderr(Stdio::null());
            durations.status.time(|| discarding.status().context("run by hand"))?;
        }
        Ok(durations)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(self.arguments).env_clear().env("PATH", SEARCH_PATH).current_dir(self.directory).stdin(Stdio::null());
        command
    }
}
