//! Whether the kernel has killed for want of memory: it counts its victims, but does not name them.

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
pub(super) struct Oom(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// The count when it was last read.
    count: u64,
    /// Victims counted then that no process has been taken for.
    spare: u64,
    /// When it was last seen to grow.
    grown: Instant,
}

impl Oom {
    /// From now on.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Known { count: count().unwrap_or(0), spare: 0, grown: Instant::now() }))
    }

    /// Whether a process that has just been waited for, and that nobody else ended, is one of the kernel's victims. To be asked once
    /// for each.
    pub(super) fn took_one(&self) -> bool {
        let count = count();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        count.is_some_and(|count| known.take(count, Instant::now()))
    }
}

impl Known {
    fn take(&mut self, count: u64, now: Instant) -> bool {
        if count > self.count {
            (self.spare, self.count, self.grown) = (count - self.count, count, now);
        } else if now.duration_since(self.grown) > TOGETHER {
            // Those were children that callers do not know.
            self.spare = 0;
        }
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
pub(super) fn parse(counts: &str) -> Option<u64> {
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
        let mut known = Known { count: 5, spare: 0, grown: start };
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
        ] {
            assert_eq!(known.take(count, start + Duration::from_millis(after_ms)), taken, "{after_ms} ms");
        }
    }
}
