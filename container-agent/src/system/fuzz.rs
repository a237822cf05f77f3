//! Fuzzing of what the kernel says of control groups, cgroups(7), and of memory, proc_meminfo(5).

use cabana_protocol::system::Space;

pub(crate) use super::processors::ticks_of;
use super::{memory, processors};
use crate::cgroup;

const MACHINE: Space = Space { used_bytes: 600 << 10, total_bytes: 1_000 << 10 };

/// The table of a process's groups, and the files of one, with NULs between them: a path stays within its line, and no group has more
/// than the machine.
pub fn cgroup(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut parts = text.split('\0');
    let [table, usage, limit, stat, cpu, meminfo] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    for controller in ["", "cpu", "memory"] {
        if let Some(path) = cgroup::path(table, controller) {
            assert!(!path.starts_with('/') && table.lines().any(|line| line.ends_with(path)), "{path:?}");
        }
    }
    if let Some(group) = memory::group(usage, limit, stat, "inactive_file") {
        let used: Option<u64> = usage.trim().parse().ok();
        assert!(used.is_some_and(|used| group.used_bytes <= used), "{group:?}");
        assert!(memory::within(group, MACHINE).total_bytes <= MACHINE.total_bytes);
    }
    if let Some(count) = cpu.split_once(' ').and_then(|(quota, period)| processors::ratio(quota, period)) {
        assert!(count > 0.0 && count <= f64::from(u32::MAX), "{count}");
    }
    if let Some(space) = memory::machine(meminfo) {
        assert!(space.used_bytes <= space.total_bytes, "{space:?}");
    }
}
