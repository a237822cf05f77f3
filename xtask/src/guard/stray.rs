//! Processes that left their group. wrangler starts one, in its own session, to clean up after itself.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable that marks the processes of a run; its value is the run's directory.
pub(crate) const MARK: &str = "CABANA_RUN";
/// How long they may take to end after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// Kills every process whose environment has the mark of this run.
pub(super) fn end(directory: &Path) {
    let started = Instant::now();
    loop {
        let strays = marked(directory);
        if strays.is_empty() || started.elapsed() > KILL_TIMEOUT {
            return;
        }
        for stray in strays {
            // It may have exited already.
            let _ = kill_process(stray, Signal::KILL);
        }
        thread::sleep(POLL);
    }
}

/// The processes of a run.
pub(crate) fn marked(directory: &Path) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let has_mark =
        |process: &Path| fs::read(process.join("environ")).is_ok_and(|environment| has(&environment, directory.as_os_str()));
    entries
        .filter_map(|entry| Some((entry.path(), entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?)))
        .filter(|(process, _)| has_mark(process))
        .map(|(_, pid)| pid)
        .collect()
}

/// Whether an environment, as in `/proc/<pid>/environ`, has the mark with this value.
fn has(environment: &[u8], directory: &OsStr) -> bool {
    let wanted = [MARK.as_bytes(), b"=", directory.as_bytes()].concat();
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
}

#[cfg(test)]
mod tests {
    use super::{MARK, end, has, marked};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn the_mark_must_match_the_whole_variable() {
        let environment = format!("A=1\0{MARK}=/run/7\0B=2\0");
        assert!(has(environment.as_bytes(), "/run/7".as_ref()));
        assert!(!has(environment.as_bytes(), "/run".as_ref()));
        assert!(!has(environment.as_bytes(), "/run/77".as_ref()));
    }

    #[test]
    fn a_marked_process_outside_the_group_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let mut sleep = Command::new("sleep").arg("60").env(MARK, directory.path()).process_group(0).spawn().unwrap();
        // The environment of a process cannot be read until it has started.
        while marked(directory.path()).is_empty() {
            std::thread::yield_now();
        }
        end(directory.path());
        assert!(!sleep.wait().unwrap().success());
    }
}
