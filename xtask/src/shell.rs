//! Running other programs, with the context that makes a failure readable.

use crate::guard::stray;
use crate::progress::{Step, cargo};
use anyhow::{Context, Error, Result, anyhow, bail};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// How often a running program is polled.
const POLL: Duration = Duration::from_millis(50);
/// Lines of a log shown when its program fails.
const TAIL_LINES: usize = 100;
/// What a program says that found no room for a file.
const DISK_FULL: &str = "No space left on device";

/// The run that started programs belong to, see [`belong_to`].
static RUN: OnceLock<PathBuf> = OnceLock::new();

/// Makes the program end with this process, however this process ends.
///
/// The kernel watches the *thread* that spawned it: spawn from one that lives as long as the program may.
pub(crate) fn die_with_parent(command: &mut Command) -> &mut Command {
    let set = || set_parent_process_death_signal(Some(Signal::TERM)).map_err(Into::into);
    // SAFETY: between fork and exec the closure makes one prctl call: it allocates nothing and takes no lock.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(set)
    }
}

/// Marks every program that is started from now on as part of the run of this directory: its guard ends them, and what they started.
pub(crate) fn belong_to(run: &Path) {
    // The first run stands: its guard ends last.
    let _ = RUN.set(run.to_owned());
}

/// Starts the program, which ends with the calling thread.
pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    if let Some(run) = RUN.get() {
        command.env(stray::MARK, run);
    }
    die_with_parent(command).spawn().map_err(|error| not_started(command, error))
}

/// What the program wrote, and how it ended.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().map_err(|error| not_started(command, error))
}

/// The program's standard output, without surrounding white space. Fails, with its standard error, when it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", describe(command), output.status, errors.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs the program with its output on the screen. Fails when it fails.
pub(crate) fn stream(command: &mut Command) -> Result<()> {
    let status = spawn(command)?.wait().with_context(|| format!("wait for {}", describe(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", describe(command));
    }
    Ok(())
}

/// Runs the program with its output in `log`, reporting progress on `step`, and ends it after `limit`, if any.
///
/// When it fails the error carries the end of the log.
pub(crate) fn run_logged(command: &mut Command, log: &Path, step: &Step, limit: Option<Duration>) -> Result<()> {
    run_measured(command, log, step, limit, read_status)
}

/// As [`run_logged`], for a program whose progress is read from its log by `measure`.
pub(crate) fn run_measured(
    command: &mut Command,
    log: &Path,
    step: &Step,
    limit: Option<Duration>,
    measure: impl Fn(&Path) -> String,
) -> Result<()> {
    let output = create_log(log)?;
    command.stdout(output.try_clone()?).stderr(output);
    run_captured(command, log, step, limit, measure)
}

/// Runs a program that has its standard output elsewhere already; its standard error goes to `log`.
pub(crate) fn run_redirected(command: &mut Command, log: &Path, step: &Step) -> Result<()> {
    command.stderr(create_log(log)?);
    run_captured(command, log, step, None, read_status)
}

fn run_captured(
    command: &mut Command,
    log: &Path,
    step: &Step,
    limit: Option<Duration>,
    measure: impl Fn(&Path) -> String,
) -> Result<()> {
    cargo::enable(command);
    let mut child = spawn(command.stdin(Stdio::null()))?;
    let status = wait_within(&mut child, command, limit, || step.tick(&measure(log)))?;
    if status.success() {
        return Ok(());
    }
    let tail = last_lines(log, TAIL_LINES);
    if tail.contains(DISK_FULL) {
        bail!("{}: the disk is full; free some space and start again ({})", describe(command), log.display());
    }
    bail!("{} failed ({status}); the end of {}:\n{tail}", describe(command), log.display())
}

/// A new file for a program's output, in a directory that is created when missing.
pub(crate) fn create_log(log: &Path) -> Result<File> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    File::create(log).with_context(|| format!("create {}", log.display()))
}

/// Waits for the program, calling `tick` meanwhile, and ends it after `limit`, if any.
fn wait_within(child: &mut Child, command: &Command, limit: Option<Duration>, tick: impl Fn()) -> Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if limit.is_some_and(|limit| started.elapsed() > limit) {
            child.kill()?;
            child.wait()?;
            bail!("{} took longer than {} s and was ended", describe(command), started.elapsed().as_secs());
        }
        tick();
        thread::sleep(POLL);
    }
}

/// A file for a program's output, added to at its end.
pub(crate) fn append(log: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))
}

/// How far a program is by its log: the counts of cargo's bar, else the last line.
fn read_status(log: &Path) -> String {
    let tail = tail(log);
    let line = tail.split(['\n', '\r']).rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    cargo::read(line).unwrap_or_else(|| line.chars().take(80).collect())
}

/// The last `count` lines of a text file, of which at most the last 64 KiB are read; nothing when it cannot be read.
pub(crate) fn last_lines(log: &Path, count: usize) -> String {
    let text = tail(log);
    let lines: Vec<&str> = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty() && !cargo::is_progress(line)).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn tail(log: &Path) -> String {
    const WINDOW: u64 = 64 * 1024;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(WINDOW)))?;
        let mut bytes = Vec::new();
        file.take(WINDOW).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

fn not_started(command: &Command, error: io::Error) -> Error {
    if error.kind() == ErrorKind::NotFound {
        let program = Path::new(command.get_program()).display().to_string();
        return anyhow!("{program} is not installed, or not on the search path");
    }
    Error::from(error).context(format!("start {}", describe(command)))
}

/// The program's name and arguments. Secrets are handed over in files, so none can be among them.
pub(crate) fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    command.get_args().fold(format!("`{name}"), |text, argument| format!("{text} {}", argument.to_string_lossy())) + "`"
}

#[cfg(test)]
mod tests {
    use super::{capture, last_lines, read_status, run_logged};
    use crate::progress::{Outcome, Step};
    use std::fs;
    use std::process::Command;
    use std::time::Duration;

    /// What a shell script's run gives as an error.
    fn failure(script: &str, limit: Option<Duration>) -> String {
        let directory = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        let run = |step: &Step| {
            run_logged(&mut shell, &directory.path().join("logs/log"), step, limit).map(|()| (Outcome::Done(String::new()), ()))
        };
        Step::run("script", run).unwrap_err().to_string()
    }

    #[test]
    fn a_program_past_its_limit_is_ended() {
        let error = failure("exec sleep inf", Some(Duration::ZERO));
        assert!(error.contains("sleep inf") && error.contains("was ended"), "{error}");
    }

    #[test]
    fn a_failure_carries_the_end_of_the_log_without_progress() {
        let script = "echo one; echo '   Compiling a v1.0.0'; printf '    Building [==> ] 1/2: a\\r'; echo two >&2; exit 3";
        let error = failure(script, None);
        assert!(error.contains("one\ntwo") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_full_disk_is_reported_as_one_sentence() {
        let error = failure("echo 'error: write: No space left on device (os error 28)'; exit 1", None);
        assert!(error.contains("the disk is full; free some space") && error.lines().count() == 1, "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = capture(&mut Command::new("cabana-no-such-program")).unwrap_err().to_string();
        assert_eq!(error, "cabana-no-such-program is not installed, or not on the search path");
    }

    #[test]
    fn a_failed_capture_names_the_program_and_its_error() {
        let error = capture(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("no such luck") && error.contains('3'), "{error}");
    }

    #[test]
    fn the_last_lines_skip_blank_ones() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "one\ntwo\r\n\nthree\n").unwrap();
        assert_eq!(last_lines(&log, 2), "two\nthree");
        assert_eq!(last_lines(&log, 9), "one\ntwo\nthree");
        assert_eq!(last_lines(&directory.path().join("absent"), 2), "");
    }

    #[test]
    fn the_status_is_the_bar_or_the_last_line() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "   Compiling syn\n    Building [==> ] 1/2: a\r").unwrap();
        assert_eq!(read_status(&log), "1 of 2 crates");
        fs::write(&log, "added 3 packages\n\n").unwrap();
        assert_eq!(read_status(&log), "added 3 packages");
    }
}
