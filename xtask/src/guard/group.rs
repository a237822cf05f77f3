//! A process group: whether any of it runs, and how to end it.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// How long a group may take to end after its leader got SIGTERM.
const GRACE: Duration = Duration::from_secs(8);
/// How long a group may take to end after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// A process group, named by its leader.
pub(super) struct ProcessGroup {
    leader: Pid,
}

impl ProcessGroup {
    pub(super) fn new(leader: Pid) -> Self {
        Self { leader }
    }

    /// Sends SIGTERM to the leader, which ends the others; kills what is left after the grace period.
    pub(super) fn end(&self) {
        // These fail if the process has exited already.
        let _ = kill_process(self.leader, Signal::TERM);
        if !self.ends_within(GRACE) {
            let _ = kill_process_group(self.leader, Signal::KILL);
            self.ends_within(KILL_TIMEOUT);
        }
    }

    fn ends_within(&self, limit: Duration) -> bool {
        let started = Instant::now();
        while self.is_running() {
            if started.elapsed() > limit {
                return false;
            }
            // Without its leader, nobody ends the others.
            if !self.has_leader() {
                let _ = kill_process_group(self.leader, Signal::TERM);
            }
            thread::sleep(POLL);
        }
        true
    }

    /// Zombies do not count: only their parent can reap them.
    fn is_running(&self) -> bool {
        let Ok(entries) = fs::read_dir("/proc") else { return false };
        entries
            .flatten()
            .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
            .any(|stat| is_live_member(&stat, self.leader.as_raw_pid()))
    }

    fn has_leader(&self) -> bool {
        let leader = self.leader.as_raw_pid();
        fs::read_to_string(format!("/proc/{leader}/stat")).is_ok_and(|stat| is_live_member(&stat, leader))
    }
}

/// Whether a line of `/proc/<pid>/stat` describes a process of the group that is not a zombie.
fn is_live_member(stat: &str, group: i32) -> bool {
    // The name in parentheses may itself contain parentheses: the fields follow the last one.
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let mut fields = fields.split(' ');
    let state = fields.next();
    let process_group = fields.nth(1).and_then(|field| field.parse().ok());
    state != Some("Z") && process_group == Some(group)
}

#[cfg(test)]
mod tests {
    use super::{ProcessGroup, is_live_member};
    use rustix::process::Pid;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn program_names_may_contain_parentheses() {
        assert!(is_live_member("7 (a) Z 1) b) S 1 42 42 0 -1", 42));
        assert!(!is_live_member("7 (a) S 1 43 42 0 -1", 42));
        assert!(!is_live_member("7 (a) Z 1 42 42 0 -1", 42));
        assert!(!is_live_member("", 42));
    }

    #[test]
    fn a_group_ends_with_its_children() {
        let mut shell = Command::new("sh").args(["-c", "sleep 60 & wait"]).process_group(0).spawn().unwrap();
        let group = ProcessGroup::new(Pid::from_child(&shell));
        assert!(group.is_running());
        group.end();
        assert!(!group.is_running());
        shell.wait().unwrap();
    }
}
