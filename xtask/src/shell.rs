//! Running other programs, with the context that makes a failure readable.

use crate::progress::Step;
use anyhow::{Context, Result, bail};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Lines of a log shown when its program fails.
const TAIL_LINES: usize = 40;

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

/// The program's standard output, without surrounding white space. Fails, with its standard error, when it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {}", describe(command)))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", describe(command), output.status, errors.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs the program with its output on the screen. Fails when it fails.
pub(crate) fn stream(command: &mut Command) -> Result<()> {
    let status = die_with_parent(command).status().with_context(|| format!("start {}", describe(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", describe(command));
    }
    Ok(())
}

/// The same, but ends the program after `limit`, and fails.
pub(crate) fn stream_within(command: &mut Command, limit: Duration) -> Result<()> {
    let mut child = die_with_parent(command).spawn().with_context(|| format!("start {}", describe(command)))?;
    let status = wait_within(&mut child, command, Some(limit), || ())?;
    if !status.success() {
        bail!("{} failed ({status})", describe(command));
    }
    Ok(())
}

/// Runs the program with its output in `log`, reporting progress on `step`, and ends it after `limit`, if any.
///
/// When it fails the error carries the end of the log.
pub(crate) fn run_logged(command: &mut Command, log: &Path, step: &Step, limit: Option<Duration>) -> Result<()> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut child = die_with_parent(command).spawn().with_context(|| format!("start {}", describe(command)))?;
    let status = wait_within(&mut child, command, limit, || step.tick(last_lines(log, 1).trim()))?;
    if !status.success() {
        let tail = last_lines(log, TAIL_LINES);
        bail!("{} failed ({status}); the end of {}:\n{tail}", describe(command), log.display());
    }
    Ok(())
}

/// Waits for the program, looking up now and then, and ends it after `limit`, if any.
fn wait_within(child: &mut Child, command: &Command, limit: Option<Duration>, look: impl Fn()) -> Result<ExitStatus> {
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
        look();
        thread::sleep(LOOK);
    }
}

/// A file for a program's output, added to at its end.
pub(crate) fn append(log: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))
}

/// The last `count` lines of a text file, of which at most the last 16 KiB are looked at; nothing when it cannot be read.
pub(crate) fn last_lines(log: &Path, count: usize) -> String {
    const WINDOW: u64 = 16 * 1024;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(WINDOW)))?;
        let mut bytes = Vec::new();
        file.take(WINDOW).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The program's name and arguments. Secrets are handed over in files, so none can be among them.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    command.get_args().fold(format!("`{name}"), |text, argument| format!("{text} {}", argument.to_string_lossy())) + "`"
}

#[cfg(test)]
mod tests {
    use super::{capture, last_lines, stream_within};
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn what_never_ends_is_ended() {
        let error = stream_within(Command::new("sleep").arg("inf"), Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("sleep") && error.contains("was ended"), "{error}");
        stream_within(&mut Command::new("true"), Duration::MAX).unwrap();
    }

    #[test]
    fn a_failure_names_the_program_and_its_complaint() {
        let error = capture(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("no such luck") && error.contains('3'), "{error}");
    }

    #[test]
    fn the_last_lines_skip_blank_ones() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        std::fs::write(&log, "one\ntwo\r\n\nthree\n").unwrap();
        assert_eq!(last_lines(&log, 2), "two\nthree");
        assert_eq!(last_lines(&log, 9), "one\ntwo\nthree");
        assert_eq!(last_lines(&directory.path().join("absent"), 2), "");
    }
}
