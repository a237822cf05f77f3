//! Memory: that of the sandbox's cgroup where it has one, else the machine's.

use std::{fs, io};

use cabana_protocol::system::Space;

use crate::cgroup;

/// How much is used, and how much may be.
pub(super) fn read() -> io::Result<Space> {
    let machine = machine(&fs::read_to_string("/proc/meminfo")?).ok_or(io::ErrorKind::InvalidData)?;
    Ok(version_2().or_else(version_1).map_or(machine, |group| within(group, machine)))
}

fn version_2() -> Option<Space> {
    let current = cgroup::read("", "memory.current")?;
    group(&current, &cgroup::read("", "memory.max")?, &cgroup::read("", "memory.stat")?, "inactive_file")
}

fn version_1() -> Option<Space> {
    let file = |name| cgroup::read("memory", name);
    let usage = file("memory.usage_in_bytes")?;
    group(&usage, &file("memory.limit_in_bytes")?, &file("memory.stat")?, "total_inactive_file")
}

/// What a cgroup uses, less the content of files that nobody has looked at for a while; "max" is no limit.
pub(super) fn group(usage: &str, limit: &str, stat: &str, unused: &str) -> Option<Space> {
    let usage: u64 = usage.trim().parse().ok()?;
    let unused = stat.lines().find_map(|line| line.strip_prefix(unused)?.trim().parse().ok()).unwrap_or(0);
    Some(Space { used_bytes: usage.saturating_sub(unused), total_bytes: limit.trim().parse().unwrap_or(u64::MAX) })
}

/// No limit is above what the machine has.
pub(super) fn within(group: Space, machine: Space) -> Space {
    Space { total_bytes: group.total_bytes.min(machine.total_bytes), ..group }
}

/// Reads proc_meminfo(5).
pub(super) fn machine(meminfo: &str) -> Option<Space> {
    let field = |name: &str| {
        let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
    };
    let (total, available) = (field("MemTotal")?, field("MemAvailable")?);
    Some(Space { used_bytes: total.saturating_sub(available), total_bytes: total })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Space = Space { used_bytes: 600 << 10, total_bytes: 1_000 << 10 };

    #[test]
    fn a_machine_is_read() {
        assert_eq!(machine("MemTotal:    1000 kB\nMemFree:   1 kB\nMemAvailable:   400 kB\n"), Some(MACHINE));
        for meminfo in ["", "MemTotal: 1000 kB\n", "MemTotal: x kB\nMemAvailable: 1 kB\n"] {
            assert_eq!(machine(meminfo), None, "{meminfo:?}");
        }
    }

    #[test]
    fn a_group_uses_what_is_not_only_kept() {
        let stat = "cache 70000\ninactive_file 2000\ntotal_inactive_file 30000\n";
        for (limit, unused, used_bytes, total_bytes) in [
            ("500000\n", "inactive_file", 98_000, 500_000),
            ("max\n", "inactive_file", 98_000, MACHINE.total_bytes),
            ("9223372036854771712\n", "total_inactive_file", 70_000, MACHINE.total_bytes),
            ("500000\n", "nothing", 100_000, 500_000),
        ] {
            let group = group("100000\n", limit, stat, unused).unwrap();
            assert_eq!(within(group, MACHINE), Space { used_bytes, total_bytes }, "{limit} {unused}");
        }
        assert_eq!(group("", "max", "", ""), None);
    }
}
