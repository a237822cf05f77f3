//! What `/proc` says of processes, as bytes: names in it need not be text.

#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::process) mod fuzz;

use std::{
    fs::{self, File},
    io::{self, Read as _},
};

use rustix::{
    io::Errno,
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
/// Fails where there is no `/proc`, and when a process cannot be read just now ([`is_shortage`]): it must not be taken for gone.
pub(super) fn read_all(variable: &str) -> io::Result<Vec<Entry>> {
    let mut newest = newest();
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut entries: Vec<_> = pids.filter_map(|pid| read(pid, variable).transpose()).collect::<io::Result<_>>()?;
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
        for pid in known.max(newest.saturating_sub(NEWEST)) + 1..=newest {
            entries.extend(read(pid, variable)?);
        }
    }
    Ok(entries)
}

/// Whether the agent, or the machine, lacks descriptors or memory at the moment.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
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

fn read(pid: i32, variable: &str) -> io::Result<Option<Entry>> {
    let stat = read_file(&format!("/proc/{pid}/stat"))?;
    let Some((entry, main_thread)) = stat.and_then(|stat| parse(pid, &stat)) else { return Ok(None) };
    let environ = match main_thread {
        MainThread::Runs => read_file(&format!("/proc/{pid}/environ"))?.unwrap_or_default(),
        // It has no memory any more, where the environment is.
        MainThread::Ended => environment_of_threads(pid)?,
    };
    Ok(Some(Entry { variable: value(&environ, variable), ..entry }))
}

/// The most that is read of a file. A process can make its environment look larger than execve(2) lets it be.
const MAX_BYTES: u64 = 8 << 20;

/// `None` of a process that is gone, or may not be looked at.
fn read_file(path: &str) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut content)) {
        Ok(_) => Ok(Some(content)),
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The environment as the first thread shows it that has one.
fn environment_of_threads(pid: i32) -> io::Result<Vec<u8>> {
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let path = thread.path().join("environ");
        if let Some(environ) = path.to_str().map(read_file).transpose()?.flatten().filter(|environ| !environ.is_empty()) {
            return Ok(environ);
        }
    }
    Ok(Vec::new())
}

/// The thread that a process began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MainThread {
    Runs,
    /// It has left by pthread_exit(3): the kernel calls the process a zombie, while its other threads run.
    Ended,
}

/// Reads proc_pid_stat(5), which does not tell the variable; `None` for a zombie.
fn parse(pid: i32, stat: &[u8]) -> Option<(Entry, MainThread)> {
    // The name, in parentheses, may itself hold spaces, parentheses and half a character.
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[name_ends + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    let threads = fields.nth(13).and_then(|count| count.parse().ok()).unwrap_or(1);
    let started = fields.nth(1).and_then(|ticks| ticks.parse().ok()).unwrap_or(0);
    let main_thread = match (state, threads) {
        ("X", _) | ("Z", ..=1) => return None,
        ("Z", 2..) => MainThread::Ended,
        _ => MainThread::Runs,
    };
    Some((Entry { pid, parent, group, session, started, variable: None }, main_thread))
}

/// The value of a variable in proc_pid_environ(5).
fn value(environ: &[u8], variable: &str) -> Option<Vec<u8>> {
    let mut variables = environ.split(|byte| *byte == 0);
    variables.find_map(|text| text.strip_prefix(variable.as_bytes())?.strip_prefix(b"=")).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_as_the_manual_says() {
        let read = |started, main_thread| {
            Some((Entry { pid: 7, parent: 1, group: 7, session: 6, started, variable: None }, main_thread))
        };
        for (stat, expected) in [
            (b"7 (a) b (c) S 1 7 6 0 -1".as_slice(), read(0, MainThread::Runs)),
            (b"7 (half a \xc3) R 1 7 6 0 -1", read(0, MainThread::Runs)),
            (b"7 (x) S 1 7 6 0 -1 4 5 6 7 8 9 0 1 2 20 0 1 0 4711 5 6", read(4711, MainThread::Runs)),
            (b"7 (x) S 1 7 6 0 -1 4 5 6 7 8 9 0 1 2 20 0 3 0 4711 5 6", read(4711, MainThread::Runs)),
            (b"7 (x) Z 1 7 6 0 -1 4 5 6 7 8 9 0 1 2 20 0 2 0 4711 5 6", read(4711, MainThread::Ended)),
            (b"7 (x) Z 1 7 6 0 -1 4 5 6 7 8 9 0 1 2 20 0 1 0 4711 5 6", None),
            (b"7 (x) X 1 7 6 0 -1 4 5 6 7 8 9 0 1 2 20 0 2 0 4711 5 6", None),
            (b"7 (x) Z 1 7 6 0 -1", None),
            (b"", None),
            (b"7 (x", None),
            (b"7 (x) S one", None),
        ] {
            assert_eq!(parse(7, stat), expected, "{}", String::from_utf8_lossy(stat));
        }
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        for (environ, expected) in
            [(b"A=1\0MARK=x-1\0B=2\0".as_slice(), Some(b"x-1".as_slice())), (b"XMARK=x-1\0MARK", None), (b"", None)]
        {
            assert_eq!(value(environ, "MARK").as_deref(), expected, "{}", String::from_utf8_lossy(environ));
        }
    }
}
