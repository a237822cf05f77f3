//! What `/proc` says of processes, as bytes: names in it need not be text.

use std::{fs, io};

use rustix::{
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};

/// A process, unless it is a zombie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    /// When it was started, in clock ticks since the machine's start.
    pub(super) started: u64,
    /// The value of the variable that was asked for.
    pub(super) variable: Option<Vec<u8>>,
}

/// How often those are looked at that were started during the last look, at most: on a busy machine there are always some.
const LOOKS: usize = 100;

/// How many of them are looked at each time, at most: the newest.
const NEWEST: i32 = 4_096;

/// All processes that are not zombies, each with the variable of this name that it was started with. One may be there twice.
///
/// Fails where there is no `/proc`.
pub(super) fn read_all(variable: &str) -> io::Result<Vec<Entry>> {
    let mut newest = newest();
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut entries: Vec<_> = pids.filter_map(|pid| read(pid, variable)).collect();
    // The reader is itself a process: where nobody is seen, /proc is not what it should be.
    if entries.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    // A chain of processes, each of which starts the next one and ends, would otherwise be past the reader wherever he looks.
    for _ in 0..LOOKS {
        let known = std::mem::replace(&mut newest, self::newest());
        if newest <= known {
            break;
        }
        entries.extend((known.max(newest.saturating_sub(NEWEST)) + 1..=newest).filter_map(|pid| read(pid, variable)));
    }
    Ok(entries)
}

/// The number of the process, or thread, that was started last; the highest there is where nobody tells.
fn newest() -> i32 {
    let last = |text: String| text.split_ascii_whitespace().last()?.parse().ok();
    fs::read_to_string("/proc/loadavg").ok().and_then(last).unwrap_or(i32::MAX)
}

/// The children of a process, as far as the kernel tells them. Unlike [`read_all`] this costs little.
pub(super) fn children(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// This moment, as [`Entry::started`] counts.
pub(super) fn now() -> u64 {
    let since_start = clock_gettime(ClockId::Boottime);
    let (seconds, nanoseconds) = (since_start.tv_sec.unsigned_abs(), since_start.tv_nsec.unsigned_abs());
    let ticks = clock_ticks_per_second();
    seconds * ticks + nanoseconds * ticks / 1_000_000_000
}

fn read(pid: i32, variable: &str) -> Option<Entry> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    parse(pid, &stat, &environ, variable)
}

/// Reads proc_pid_stat(5) and proc_pid_environ(5); `None` for a zombie.
fn parse(pid: i32, stat: &[u8], environ: &[u8], variable: &str) -> Option<Entry> {
    // The name, in parentheses, may itself hold spaces, parentheses and half a character.
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[name_ends + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    let started = fields.nth(15).and_then(|ticks| ticks.parse().ok()).unwrap_or(0);
    let mut variables = environ.split(|byte| *byte == 0);
    let variable = variables.find_map(|text| text.strip_prefix(variable.as_bytes())?.strip_prefix(b"=")).map(<[u8]>::to_vec);
    (!matches!(state, "Z" | "X")).then_some(Entry { pid, parent, group, session, started, variable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_the_manual_says() {
        let started_at = |started, variable: Option<&[u8]>| {
            let variable = variable.map(<[u8]>::to_vec);
            Entry { pid: 7, parent: 1, group: 7, session: 6, started, variable }
        };
        let entry = |variable| started_at(0, variable);
        for (stat, environ, expected) in [
            (b"7 (a) b (c) S 1 7 6 0 -1".as_slice(), b"A=1\0MARK=x-1\0B=2\0".as_slice(), Some(entry(Some(b"x-1")))),
            (b"7 (half a \xc3) R 1 7 6 0 -1", b"XMARK=x-1\0MARK", Some(entry(None))),
            (b"7 (x) S 1 7 6 0 -1 4 5 6 7 8 9 0 1 2 20 0 1 0 4711 5 6", b"", Some(started_at(4711, None))),
            (b"7 (x) Z 1 7 6 0 -1", b"", None),
            (b"", b"", None),
            (b"7 (x", b"", None),
            (b"7 (x) S one", b"", None),
        ] {
            assert_eq!(parse(7, stat, environ, "MARK"), expected, "{}", String::from_utf8_lossy(stat));
        }
    }
}
