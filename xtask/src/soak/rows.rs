//! The program with the rows.

use super::Scratch;
use super::table::Report;
use crate::dev::stack::Stack;
use crate::shell;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a row may go on after its share of the time before it is ended: more than the program gives it by itself.
const OVERTIME: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(100);

/// A row as the program lists it.
#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) needs_stack: bool,
    pub(super) seconds: u64,
}

/// `cabana-soak`.
pub(super) struct Program(PathBuf);

/// What tells a row where to run. Secrets are among it, which an argument would show to everyone.
pub(super) struct Environment(Vec<(&'static str, OsString)>);

impl Environment {
    /// For rows that start this agent. It is copied, so that a later build does not change a run.
    pub(super) fn of_agent(agent: &Path, scratch: &Path) -> Result<Self> {
        let copy = scratch.join("cabana-agent");
        fs::copy(agent, &copy).with_context(|| format!("copy {}", agent.display()))?;
        Ok(Self(vec![("CABANA_TEST_TARGET", "agent".into()), ("CABANA_AGENT_BIN", copy.into())]))
    }

    /// For rows that use this service, which trusts the issuer whose keys are in this file.
    pub(super) fn of_stack(stack: &Stack, issuer: &Path) -> Self {
        Self(vec![
            ("CABANA_TEST_TARGET", "stack".into()),
            ("CABANA_TEST_URL", stack.url().into()),
            ("CABANA_TEST_API_KEY", stack.api_key().into()),
            ("CABANA_TEST_ISSUER", issuer.into()),
            ("CABANA_SOAK_STATE", stack.directory().join("state").into()),
        ])
    }
}

impl Program {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The rows that it has.
    pub(super) fn list(&self) -> Result<Vec<Listed>> {
        let lines = shell::capture(Command::new(&self.0).arg("list"))?;
        lines.lines().map(|line| serde_json::from_str(line).context("read the list of rows")).collect()
    }

    /// Runs a row. A row that found a violation is no error; its report says so.
    pub(super) fn run(&self, name: &str, share: Duration, environment: &Environment, scratch: &Scratch) -> Result<Report> {
        let said = scratch.path.join(format!("{name}.json"));
        let mut run = Command::new(&self.0);
        run.args(["run", name, "--seconds", &share.as_secs().max(1).to_string()]);
        run.envs(environment.0.iter().map(|(name, value)| (name, value))).env("TMPDIR", &scratch.path);
        run.stdin(Stdio::null()).stdout(File::create(&said).context("create the report's file")?);
        scratch.guard.mark(&mut run);
        let mut child = shell::die_with_parent(&mut run).spawn().context("start cabana-soak")?;
        wait(&mut child, share + OVERTIME)?;
        let said = fs::read_to_string(&said).context("read the report")?;
        serde_json::from_str(&said).with_context(|| format!("the row ended without a report: {said:?}"))
    }
}

fn wait(child: &mut Child, limit: Duration) -> Result<()> {
    let started = Instant::now();
    while child.try_wait().context("wait for cabana-soak")?.is_none() {
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("it did not end {} s after its time", OVERTIME.as_secs());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}
