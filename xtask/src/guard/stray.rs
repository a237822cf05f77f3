//! Processes that left their group: wrangler starts one, in a session of its own, to clean up after itself.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable, holding the run's directory, by which the processes of a run are known.
pub(crate) const MARK: &str = "CABANA_RUN";
/// How long the kernel may take to end them.
const FORCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// Ends by force every process whose environment has the mark of this run.
pub(super) fn end(directory: &Path) {
    let started = Instant::now();
    loop {
        let strays = marked(directory);
        if strays.is_empty() || started.elapsed() > FORCE {
            return;
        }
        for stray in strays {
            // One that is gone already is as good.
            let _ = kill_process(stray, Signal::KILL);
        }
        thread::sleep(LOOK);
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

/// Whether an environment, as in /proc/<pid>/environ, has the mark with this value.
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
    fn the_mark_is_one_whole_variable() {
        let environment = format!("A=1\0{MARK}=/run/7\0B=2\0");
        assert!(has(environment.as_bytes(), "/run/7".as_ref()));
        assert!(!has(environment.as_bytes(), "/run".as_ref()));
        assert!(!has(environment.as_bytes(), "/run/77".as_ref()));
    }

    #[test]
    fn a_process_in_a_group_of_its_own_is_found_and_ended() {
        let directory = tempfile::tempdir().unwrap();
        let mut sleep = Command::new("sleep").arg("60").env(MARK, directory.path()).process_group(0).spawn().unwrap();
        // Its environment is not there to be read at the very moment at which it begins.
        while marked(directory.path()).is_empty() {
            std::thread::yield_now();
        }
        end(directory.path());
        assert!(!sleep.wait().unwrap().success());
    }
}
