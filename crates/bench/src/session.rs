//! Sessions: the latency of a builtin, the memory of open sessions, and the throughput of many.

use crate::agent::Agent;
use crate::connection::{Connection, JSON};
use crate::exec::in_parallel;
use crate::process::resident_bytes;
use crate::quantity::Quantity;
use crate::row::Row;
use crate::samples::Samples;
use crate::{Bench, SEARCH_PATH};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Runs of the builtin in the session and by hand; they alternate, so that both see the same machine.
const RUNS: usize = 1_000;
/// Idle sessions at once.
const OPEN: u64 = 200;
/// Sessions that run commands at once.
const BUSY: usize = 64;
const BUSY_TIME: Duration = Duration::from_secs(60);

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = vec![builtin(&bench.start_agent()?)?];
    rows.extend(open(&bench.start_agent()?)?);
    rows.extend(busy(&bench.start_agent()?)?);
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
    Ok(Row::latency("exec \":\" in a session", &exec)
        .baseline("bash, through pipes", Quantity::Duration(bare.p50()))
        .at_most(Quantity::microseconds(350)))
}

fn open(agent: &Agent) -> Result<Vec<Row>> {
    let mut connection = agent.connect()?;
    let before = agent.resident_bytes()?;
    let sessions = (0..OPEN).map(|_| Session::create(&mut connection)).collect::<Result<Vec<_>>>()?;
    let growth = agent.resident_bytes()?.saturating_sub(before);
    let shells = sessions.iter().map(|session| resident_bytes(session.pid)).sum::<Result<u64>>()?;
    let bash = resident_bytes(Bash::start()?.child.id())?;
    Ok(vec![
        Row::new("200 open sessions: more memory of the agent", Quantity::Size(growth)),
        Row::new("  memory of a shell", Quantity::Size(shells / OPEN)).baseline("bash", Quantity::Size(bash)),
    ])
}

fn busy(agent: &Agent) -> Result<Vec<Row>> {
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    in_parallel(BUSY, || {
        let mut connection = agent.connect()?;
        let session = Session::create(&mut connection)?;
        while started.elapsed() < BUSY_TIME {
            let count = if session.run(&mut connection).is_ok() { &done } else { &failed };
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })?;
    let frequency = Quantity::frequency(done.into_inner(), started.elapsed());
    Ok(vec![
        Row::new("64 sessions for a minute", frequency).incumbent("exits at 8"),
        Row::new("  errors", Quantity::Count(failed.into_inner() as u64)).at_most(Quantity::Count(0)),
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
        let body = connection.post("session/create", "{}", JSON)?;
        serde_json::from_slice(body.tail()).context("read the response of session.create")
    }

    fn run(&self, connection: &mut Connection) -> Result<()> {
        let body = connection.post("exec", &format!(r#"{{"command":":","session":"{}"}}"#, self.session), JSON)?;
        ensure!(body.is_success(), "the command failed");
        Ok(())
    }
}

/// A shell driven by hand.
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

    /// Runs the builtin, and waits until the shell reports its end.
    fn run(&mut self) -> Result<()> {
        self.stdin.write_all(b":; echo\n")?;
        Ok(self.stdout.read_exact(&mut [0])?)
    }
}

impl Drop for Bash {
    fn drop(&mut self) {
        // Both fail when it has exited by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
