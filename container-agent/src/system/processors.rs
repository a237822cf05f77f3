//! Processors: how many there are for the sandbox, and the time that was spent on them.

use std::{fs, io, thread, time::Duration};

use crate::cgroup;

/// How many may be used at once: what the cgroup grants, where that is less than the machine has.
pub(super) fn count() -> io::Result<f64> {
    let present = thread::available_parallelism()?.get();
    // The number fits: no machine has 2^52 processors.
    Ok(quota().filter(|quota| quota.floor() <= present as f64).unwrap_or(present as f64))
}

fn quota() -> Option<f64> {
    let version_1 = || Some((cgroup::read("cpu", "cpu.cfs_quota_us")?, cgroup::read("cpu", "cpu.cfs_period_us")?));
    match cgroup::read("", "cpu.max") {
        Some(text) => text.split_once(' ').and_then(|(quota, period)| ratio(quota, period)),
        None => version_1().and_then(|(quota, period)| ratio(&quota, &period)),
    }
}

/// "max", or -1 in version 1, is no quota.
pub(super) fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (u32, u32) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    (quota > 0 && period > 0).then(|| f64::from(quota) / f64::from(period))
}

/// How many processes there are, and the time that they and all that have ended have spent: a parent that waits for its child takes
/// over the child's time, and the first process waits for whoever nobody else does.
pub(super) fn spent() -> io::Result<(u64, Duration)> {
    let pids =
        fs::read_dir("/proc")?.flatten().filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let (mut processes, mut ticks) = (0, 0);
    for spent in pids.filter_map(|pid| ticks_of(&fs::read(pid.path().join("stat")).ok()?)) {
        processes += 1;
        ticks += spent;
    }
    Ok((processes, Duration::from_millis(ticks.saturating_mul(1_000) / rustix::param::clock_ticks_per_second().max(1))))
}

/// Reads utime, stime, cutime and cstime of proc_pid_stat(5).
pub(crate) fn ticks_of(stat: &[u8]) -> Option<u64> {
    // The name, in parentheses, may itself hold spaces, parentheses and half a character.
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&stat[name_ends + 1..]).ok()?.split_ascii_whitespace().skip(11).take(4);
    let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    (ticks.len() == 4).then(|| ticks.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_ratios() {
        for (quota, period, expected) in [
            ("50000", "100000\n", Some(0.5)),
            ("max", "100000", None),
            ("-1\n", "100000", None),
            ("1", "0", None),
            ("", "", None),
        ] {
            assert_eq!(ratio(quota, period), expected, "{quota} {period}");
        }
    }

    #[test]
    fn times_are_read_as_the_manual_says() {
        let stat = b"7 (a) b (\xc3) S 1 7 7 0 -1 4194560 100 200 0 0 1 20 300 4000 20 0 1 0 5 6 7";
        assert_eq!(ticks_of(stat), Some(4_321));
        for stat in [b"".as_slice(), b"7 (x", b"7 (x) S 1 7 7 0 -1 0 1 2 0 0 1 2"] {
            assert_eq!(ticks_of(stat), None);
        }
    }
}
