//! Short commands, beside the same command started by hand.

use super::Bench;
use super::agent::SEARCH_PATH;
use super::connection::Connection;
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs of each; the three ways alternate, so that all see the same machine.
const RUNS: usize = 1_000;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let agent = bench.agent()?;
    let mut connection = agent.connect()?;
    let true_ = Case { program: "/usr/bin/true", arguments: &[], json: r#"["true"]"#, directory: bench.scratch.path() };
    let echo =
        Case { program: "/bin/bash", arguments: &["-c", "echo hi"], json: r#""echo hi""#, directory: bench.scratch.path() };
    let (true_, echo) = (true_.compare(&mut connection)?, echo.compare(&mut connection)?);
    let spawn = "posix_spawn, output read, wait";
    Ok(vec![
        true_
            .row(r#"exec ["true"]"#)
            .against(spawn, Quantity::Time(true_.output.p50()))
            .target(Target::Times(1.5))
            .incumbent("2.1 ms"),
        true_.row("  the same beside the plainest").against("posix_spawn, wait", Quantity::Time(true_.status.p50())),
        echo.row(r#"exec "echo hi""#).against(spawn, Quantity::Time(echo.output.p50())).target(Target::Times(1.3)),
        echo.row("  the same beside the plainest").against("posix_spawn, wait", Quantity::Time(echo.status.p50())),
    ])
}

/// A command, for the agent and by hand.
struct Case<'a> {
    program: &'a str,
    arguments: &'a [&'a str],
    json: &'a str,
    directory: &'a Path,
}

/// How long each way took.
#[derive(Default)]
struct Times {
    exec: Samples,
    /// By hand, its output read to the end: what any such call must do.
    output: Samples,
    /// By hand, its output thrown away by the kernel.
    status: Samples,
}

impl Case<'_> {
    fn compare(&self, connection: &mut Connection) -> Result<Times> {
        let mut times = Times::default();
        for _ in 0..RUNS {
            times.exec.time(|| connection.run(self.json))?;
            times.output.time(|| self.command().output().context("run by hand"))?;
            times.status.time(|| self.command().stdout(Stdio::null()).stderr(Stdio::null()).status().context("run by hand"))?;
        }
        Ok(times)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(self.arguments).env_clear().env("PATH", SEARCH_PATH).current_dir(self.directory).stdin(Stdio::null());
        command
    }
}

impl Times {
    fn row(&self, name: &'static str) -> Row {
        Row::new(name, Quantity::Time(self.exec.p50())).p95(Quantity::Time(self.exec.p95()))
    }
}
