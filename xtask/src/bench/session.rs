//! Sessions: how soon a builtin is done, what an open one takes, and whether many at once get through.

use super::Bench;
use super::agent::{Agent, SEARCH_PATH, resident};
use super::connection::{Connection, JSON};
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use super::throughput::in_parallel;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Runs of the builtin in the session and by hand; they alternate, so that both see the same machine.
const RUNS: usize = 1_000;
/// Sessions that are open at once.
const OPEN: u64 = 200;
/// Sessions that run commands at once.
const BUSY: usize = 64;
/// How long they do.
const TIME: Duration = Duration::from_secs(60);

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = vec![builtin(&bench.agent()?)?];
    rows.extend(open(&bench.agent()?)?);
    rows.extend(busy(&bench.agent()?)?);
    Ok(rows)
}

fn builtin(agent: &Agent) -> Result<Row> {
    let mut connection = agent.connect()?;
    let (session, mut bash) = (Session::create(&mut connection)?, Bash::start()?);
    let (mut exec, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..RUNS {
        exec.time(|| session.run(&mut connection))?;
        bare.time(|| bash.run())?;
    }
    Ok(Row::new("exec \":\" in a session", Quantity::Time(exec.p50()))
        .p95(Quantity::Time(exec.p95()))
        .against("bash, through pipes", Quantity::Time(bare.p50()))
        .target(Target::AtMost(Quantity::microseconds(400))))
}

fn open(agent: &Agent) -> Result<Vec<Row>> {
    let mut connection = agent.connect()?;
    let before = agent.resident()?;
    let sessions = (0..OPEN).map(|_| Session::create(&mut connection)).collect::<Result<Vec<_>>>()?;
    let growth = agent.resident()?.saturating_sub(before);
    let shells = sessions.iter().map(|session| resident(session.pid)).sum::<Result<u64>>()?;
    let bash = resident(Bash::start()?.child.id())?;
    Ok(vec![
        Row::new("200 open sessions: more memory of the agent", Quantity::Size(growth)),
        Row::new("  memory of a shell", Quantity::Size(shells / OPEN)).against("bash", Quantity::Size(bash)),
    ])
}

fn busy(agent: &Agent) -> Result<Vec<Row>> {
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    in_parallel(BUSY, || {
        let mut connection = agent.connect()?;
        let session = Session::create(&mut connection)?;
        while started.elapsed() < TIME {
            let count = if session.run(&mut connection).is_ok() { &done } else { &failed };
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })?;
    Ok(vec![
        Row::new("64 sessions for a minute", Quantity::frequency(done.into_inner(), started.elapsed())).incumbent("exits at 8"),
        Row::new("  errors", Quantity::Count(failed.into_inner() as u64)).target(Target::AtMost(Quantity::Count(0))),
    ])
}

/// A session of an agent.
#[derive(Deserialize)]
struct Session {
    session: String,
    pid: u32,
}

impl Session {
    fn create(connection: &mut Connection) -> Result<Self> {
        let answer = connection.post("session/create", "{}", JSON)?;
        serde_json::from_slice(answer.tail()).context("read what session.create answers")
    }

    fn run(&self, connection: &mut Connection) -> Result<()> {
        let answer = connection.post("exec", &format!(r#"{{"command":":","session":"{}"}}"#, self.session), JSON)?;
        ensure!(answer.is_success(), "the command failed");
        Ok(())
    }
}

/// A shell by hand.
struct Bash {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Bash {
    fn start() -> Result<Self> {
        let mut command = Command::new("/bin/bash");
        command.env_clear().env("PATH", SEARCH_PATH).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start bash")?;
        let (stdin, stdout) = (child.stdin.take().context("no stdin")?, child.stdout.take().context("no stdout")?);
        let mut bash = Self { child, stdin, stdout };
        bash.run()?;
        Ok(bash)
    }

    /// Runs the builtin, and waits until the shell says that it is done.
    fn run(&mut self) -> Result<()> {
        self.stdin.write_all(b":; echo\n")?;
        Ok(self.stdout.read_exact(&mut [0])?)
    }
}

impl Drop for Bash {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
