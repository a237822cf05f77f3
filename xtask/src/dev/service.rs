//! A program that runs as long as the service does.

use crate::guard::Guard;
use crate::shell;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write, stdout};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Lines of the log shown when a service ends by itself.
const TAIL_LINES: usize = 30;
/// How often a log is looked at that is shown live.
const LOOK: Duration = Duration::from_millis(100);

/// A running program whose end is the guard's business.
pub(crate) struct Service {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts the program in a process group of its own, entrusted to the guard, with this standard input and its output in `log`.
    pub(crate) fn start(
        name: &'static str,
        command: &mut Command,
        input: Stdio,
        log: PathBuf,
        guard: &mut Guard,
    ) -> Result<Self> {
        let output = shell::append(&log)?;
        command.stdin(input).stdout(output.try_clone()?).stderr(output).process_group(0);
        guard.mark(command);
        let child = shell::die_with_parent(command).spawn().with_context(|| format!("start {name}"))?;
        guard.entrust(child.id())?;
        Ok(Self { name, child, log })
    }

    /// Fails, with the end of the log, when the program has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().with_context(|| format!("look at {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}); its last words:\n{}", self.name, self.last_words()),
        }
    }

    /// The end of the log.
    pub(crate) fn last_words(&self) -> String {
        shell::last_lines(&self.log, TAIL_LINES)
    }

    /// Forgets the program if it has ended.
    pub(crate) fn reap(&mut self) {
        let _ = self.child.try_wait();
    }

    /// Shows the log on standard output from now on, each line after the service's name.
    pub(crate) fn show_log(&self) -> Result<()> {
        let (name, log) = (self.name, self.log.clone());
        // Ends with this program; it only reads.
        let show = move || follow(name, &log);
        thread::Builder::new().name(format!("{name} log")).spawn(show).context("start showing a log")?;
        Ok(())
    }
}

/// Until the file cannot be read any more, or nobody listens.
fn follow(name: &str, log: &Path) -> std::io::Result<()> {
    let mut file = std::fs::File::open(log)?;
    let mut pending = Vec::new();
    loop {
        if file.read_to_end(&mut pending)? == 0 {
            thread::sleep(LOOK);
        }
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let mut screen = stdout().lock();
            write!(screen, "[{name}] ")?;
            screen.write_all(&line)?;
        }
    }
}
