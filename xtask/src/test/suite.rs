//! Running cases of a libtest program: what it says of each is read as events, so that a case without a result is noticed.

use super::build::TestProgram;
use crate::progress::Step;
use crate::shell;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Cases at once: most of them wait, so more than there are processors.
const THREADS: &str = "8";
/// How often the progress is shown.
const TICK: Duration = Duration::from_millis(100);
/// How long results may take to arrive after the program has ended: more than a busy machine needs.
const DRAIN: Duration = Duration::from_secs(5);
/// Longest time for all cases of one program; each has its own, shorter limit.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// A variable of the environment.
pub(super) type Variable = (&'static str, OsString);

/// What becomes of cases that ran.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
    /// What each case that ran took.
    pub(super) cases: Vec<(String, Duration)>,
    /// Each failure, with what the case said.
    pub(super) failures: Vec<(String, String)>,
}

/// An event of libtest's JSON, as far as it is of use.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Event {
    Test {
        event: String,
        name: String,
        #[serde(default)]
        exec_time: f64,
        #[serde(default)]
        stdout: String,
        #[serde(default)]
        message: String,
    },
    #[serde(other)]
    Other,
}

impl Tally {
    /// Adds what a line says of a case.
    fn read(&mut self, line: &str) {
        // A program that a case started may have written to the same line before.
        let Some(start) = line.find(r#"{ "type": "#) else { return };
        let Ok(Event::Test { event, name, exec_time, stdout, message }) = serde_json::from_str(&line[start..]) else { return };
        match event.as_str() {
            "ok" => self.passed += 1,
            "ignored" => self.ignored += 1,
            "failed" => {
                self.failed += 1;
                let said = if message.is_empty() { stdout } else { format!("{stdout}{message}\n") };
                self.failures.push((name.clone(), said));
            }
            // It has started, or takes long.
            _ => return,
        }
        self.cases.push((name, Duration::try_from_secs_f64(exec_time).unwrap_or_default()));
    }

    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.cases.extend(other.cases);
        self.failures.extend(other.failures);
    }

    /// Counts the cases without a result as failures: their program crashed, or was ended.
    fn demand(&mut self, cases: &[String], why: &str) {
        for case in cases {
            if !self.cases.iter().any(|(name, _)| name == case) {
                self.failed += 1;
                self.failures.push((case.clone(), format!("no result: {why}\n")));
            }
        }
    }
}

/// Cases of one program that run with one environment.
pub(super) struct Suite<'a> {
    program: &'a TestProgram,
    environment: Vec<Variable>,
    /// All that the program writes.
    log: PathBuf,
}

impl<'a> Suite<'a> {
    pub(super) fn new(program: &'a TestProgram, environment: Vec<Variable>, log: PathBuf) -> Result<Self> {
        shell::create_log(&log)?;
        Ok(Self { program, environment, log })
    }

    /// The names of all cases.
    pub(super) fn list(&self) -> Result<Vec<String>> {
        let list = shell::capture(self.command().args(["--list", "--format", "terse"]))?;
        Ok(list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// Runs some cases, several at once.
    pub(super) fn run(&self, cases: &[String], step: &Step) -> Result<Tally> {
        self.run_with(THREADS, cases, step)
    }

    /// Runs some cases one after another.
    pub(super) fn run_serially(&self, cases: &[String], step: &Step) -> Result<Tally> {
        self.run_with("1", cases, step)
    }

    fn run_with(&self, threads: &str, cases: &[String], step: &Step) -> Result<Tally> {
        if cases.is_empty() {
            return Ok(Tally::default());
        }
        let mut run = self.command();
        run.args(["--exact", "--test-threads", threads, "-Z", "unstable-options", "--format", "json", "--report-time"]);
        // What reports durations is behind a flag that only nightly libraries take without it.
        run.args(cases).env("RUSTC_BOOTSTRAP", "1").stdin(Stdio::null()).stdout(Stdio::piped());
        run.stderr(shell::append(&self.log)?);
        let mut child = shell::spawn(&mut run)?;
        let mut tally = Tally::default();
        let read = self.follow(&mut child, cases.len(), &mut tally, step);
        if read.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().context("wait for the cases")?;
        let why = read.map_or_else(|error| format!("{error:#}"), |()| format!("the test program ended early ({status})"));
        tally.demand(cases, &format!("{why}; see {}", self.log.display()));
        if !status.success() && tally.failed == 0 {
            bail!("{} failed ({status}) though every case passed; see {}", self.program.target, self.log.display());
        }
        Ok(tally)
    }

    /// Reads results until the program has closed its output.
    fn follow(&self, child: &mut Child, count: usize, tally: &mut Tally, step: &Step) -> Result<()> {
        let output = BufReader::new(child.stdout.take().context("the cases have no output")?);
        let mut log = shell::append(&self.log)?;
        let (lines, results) = mpsc::channel();
        // Ends with the output.
        thread::spawn(move || output.split(b'\n').map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let started = Instant::now();
        let mut ended: Option<Instant> = None;
        loop {
            if started.elapsed() > LIMIT {
                bail!("the cases hang");
            }
            // What a case has left running may hold the output, so its end is not waited for.
            if ended.is_some_and(|ended| ended.elapsed() > DRAIN) {
                return Ok(());
            }
            match results.recv_timeout(TICK) {
                Ok(line) => {
                    tally.read(&String::from_utf8_lossy(&line));
                    log.write_all(&[line.as_slice(), b"\n"].concat()).context("write the log of the cases")?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if ended.is_none() && child.try_wait()?.is_some() {
                ended = Some(Instant::now());
            }
            let failed = if tally.failed == 0 { String::new() } else { format!(", {} failed", tally.failed) };
            step.tick(&format!("{} of {count} cases{failed}", tally.cases.len()));
        }
    }

    /// The program in the surroundings that cargo gives it.
    fn command(&self) -> Command {
        let TestProgram { path, directory, package, .. } = self.program;
        let mut command = Command::new(path);
        command.current_dir(directory).env("CARGO_MANIFEST_DIR", directory).env("CARGO_PKG_NAME", package);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::{Suite, Tally};
    use crate::progress::{Outcome, Step};
    use crate::test::build::TestProgram;
    use std::time::Duration;

    fn read(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn every_result_counts_once() {
        let tally = read(&[
            r#"{ "type": "suite", "event": "started", "test_count": 4 }"#,
            r#"{ "type": "test", "event": "started", "name": "a" }"#,
            r#"{ "type": "test", "name": "a", "event": "ok", "exec_time": 0.25 }"#,
            r#"{ "type": "test", "event": "timeout", "name": "b" }"#,
            r#"noise of a child{ "type": "test", "name": "b", "event": "failed", "exec_time": 1.5, "stdout": "left 1\n" }"#,
            r#"{ "type": "test", "name": "c", "event": "ignored" }"#,
            r#"{ "type": "suite", "event": "failed", "passed": 1, "failed": 1, "ignored": 1, "filtered_out": 3 }"#,
        ]);
        assert_eq!((tally.passed, tally.failed, tally.ignored), (1, 1, 1));
        assert_eq!(tally.cases[0], ("a".to_owned(), Duration::from_millis(250)));
        assert_eq!(tally.failures, [("b".to_owned(), "left 1\n".to_owned())]);
    }

    #[test]
    fn a_case_without_a_result_is_a_failure() {
        let mut tally = read(&[r#"{ "type": "test", "name": "a", "event": "ok", "exec_time": 0.25 }"#]);
        tally.demand(&["a".to_owned(), "b".to_owned()], "killed");
        assert_eq!((tally.passed, tally.failed), (1, 1));
        assert_eq!(tally.failures, [("b".to_owned(), "no result: killed\n".to_owned())]);
    }

    #[test]
    fn other_lines_do_not_count() {
        assert_eq!(read(&["test a ... ok", "{ \"type\": \"test\", broken", ""]), Tally::default());
    }

    /// This very program is one of libtest's: so the events are those of the library in use.
    #[test]
    fn cases_of_a_real_program_are_listed_and_run() {
        let directory = tempfile::tempdir().unwrap();
        let program = TestProgram {
            package: "xtask".to_owned(),
            target: "xtask".to_owned(),
            path: std::env::current_exe().unwrap(),
            directory: directory.path().to_owned(),
        };
        let suite = Suite::new(&program, Vec::new(), directory.path().join("log")).unwrap();
        let passing = "test::suite::tests::other_lines_do_not_count".to_owned();
        assert!(suite.list().unwrap().contains(&passing));
        let cases = [passing.clone(), "test::absent".to_owned()];
        let run = |step: &Step| Ok((Outcome::Done("ran".to_owned()), suite.run(&cases, step)?));
        let tally = Step::run("cases", run).unwrap();
        assert_eq!((tally.passed, tally.failed, tally.cases.len()), (1, 1, 1));
        assert_eq!((tally.cases[0].0.as_str(), tally.failures[0].0.as_str()), (passing.as_str(), "test::absent"));
    }
}
