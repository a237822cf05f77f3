//! Detects OOM kills from the kernel's counter, which says how many but not which.
//!
//! A process that dies of SIGKILL counts as a victim where the counter has grown since it was last read, at most [`TOGETHER`] before. So
//! the counter is also read when processes end in other ways: a victim that no caller started, and whose parent lives on, is not to be
//! mistaken for a process that somebody kills later.

use std::{
    fs,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::cgroup;

/// How long several victims of one shortage may take to be waited for.
const TOGETHER: Duration = Duration::from_secs(1);

/// What of the kernel's count is known. Locked for a comparison, never across an await.
#[derive(Debug)]
pub(in crate::process) struct Oom(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// The count when it was last read.
    count: u64,
    /// Victims counted then that no process has been taken for.
    spare: u64,
    /// When it was last seen to grow, and when it was last read.
    grown: Instant,
    read: Instant,
}

impl Oom {
    /// From now on.
    pub(in crate::process) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(Known { count: count().unwrap_or(0), spare: 0, grown: now, read: now }))
    }

    /// Whether a process that has just been waited for, and that nobody else ended, is one of the kernel's victims. To be asked once
    /// for each.
    pub(in crate::process) fn took_one(&self) -> bool {
        let count = count();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        count.is_some_and(|count| known.take(count, Instant::now()))
    }

    /// A process has ended that is no victim. Reads the counter, unless it has just been read.
    pub(in crate::process) fn observe(&self) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.duration_since(known.read) > TOGETHER
            && let Some(count) = count()
        {
            known.note(count, now);
        }
    }
}

impl Known {
    fn note(&mut self, count: u64, now: Instant) {
        self.read = now;
        if now.duration_since(self.grown) > TOGETHER {
            // Those were children that callers do not know.
            self.spare = 0;
        }
        if count > self.count {
            self.spare += count - self.count;
            (self.count, self.grown) = (count, now);
        }
    }

    fn take(&mut self, count: u64, now: Instant) -> bool {
        self.note(count, now);
        let taken = self.spare > 0;
        self.spare -= u64::from(taken);
        taken
    }
}

/// How many the kernel has killed: in the sandbox's cgroup where it has one, else in the machine.
fn count() -> Option<u64> {
    let group = cgroup::read("", "memory.events").or_else(|| cgroup::read("memory", "memory.oom_control"));
    parse(&group.or_else(|| fs::read_to_string("/proc/vmstat").ok())?)
}

/// The same line in memory.events, memory.oom_control and vmstat.
pub(in crate::process) fn parse(counts: &str) -> Option<u64> {
    counts.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_the_kernel_writes_them() {
        for (counts, expected) in [
            ("low 0\nhigh 0\nmax 51\noom 3\noom_kill 2\noom_group_kill 1\n", Some(2)),
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 18\n", Some(18)),
            ("pgfault 5\noom_kill 0\n", Some(0)),
            ("oom_kill_disable 0\nunder_oom 0\n", None),
            ("oom_kill x\n", None),
            ("", None),
        ] {
            assert_eq!(parse(counts), expected, "{counts:?}");
        }
    }

    #[test]
    fn each_victim_is_taken_once() {
        let start = Instant::now();
        let mut known = Known { count: 5, spare: 0, grown: start, read: start };
        for (count, after_ms, taken) in [
            (5, 0, false),
            (6, 10, true),
            (6, 20, false),
            // Two at once, waited for one after the other.
            (8, 100, true),
            (8, 200, true),
            (8, 300, false),
            // Of two, one that nobody waited for.
            (10, 400, true),
            (10, 3_000, false),
            (11, 4_000, true),
            // A third is killed before the second is waited for.
            (13, 5_000, true),
            (14, 5_100, true),
            (14, 5_200, true),
            (14, 5_300, false),
        ] {
            assert_eq!(known.take(count, start + Duration::from_millis(after_ms)), taken, "{after_ms} ms");
        }
    }

    #[test]
    fn a_victim_that_no_caller_started_is_not_mistaken_for_a_later_process() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut known = Known { count: 5, spare: 0, grown: start, read: start };
        // The parent of the victim ends in another way; much later, somebody kills another process.
        known.note(6, after(10));
        assert!(!known.take(6, after(5_000)));
        // A victim is noticed by the end of another process before its own end is.
        known.note(7, after(6_000));
        assert!(known.take(7, after(6_100)));
    }
}
