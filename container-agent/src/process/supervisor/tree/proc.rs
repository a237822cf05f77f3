//! What `/proc` says of processes, as bytes: names in it need not be text.

#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::process) mod fuzz;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use rustix::{
    io::Errno,
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};

use super::owner::Owner;

/// A process, unless it is a zombie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::process) struct Entry {
    pub(in crate::process) pid: i32,
    pub(in crate::process) parent: i32,
    pub(in crate::process) group: i32,
    pub(in crate::process) session: i32,
    /// A signal has stopped it, or its tracer.
    pub(in crate::process) stopped: bool,
    /// When it was started, in clock ticks since the machine's start.
    pub(in crate::process) started: u64,
    /// The variable that was asked for.
    pub(in crate::process) variable: Variable,
}

/// What is known of a variable of a process's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::process) enum Variable {
    /// Nothing: it has not been read.
    Unread,
    /// The process was started without it, or may not be looked into.
    Unset,
    /// Its value.
    Set(Vec<u8>),
}

impl Variable {
    /// The value, where it is known.
    pub(in crate::process) fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Set(value) => Some(value),
            Self::Unread | Self::Unset => None,
        }
    }
}

/// How often those are looked at that were started during the last look, at most: on a busy machine there are always some.
const LOOKS: usize = 100;

/// How many descriptors a look takes at once.
const DESCRIPTORS: usize = 2;

/// How many of them are looked at, at most, the newest first: where forks fail, numbers are used up all the same.
const NEWEST: i32 = 4_096;

/// Descriptors for a look at all processes: one for a directory and one for a file in it.
static RESERVE: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Keeps descriptors for later, when others have used up all that the agent may have.
pub(in crate::process) fn reserve_descriptors() {
    let mut reserve = RESERVE.lock().unwrap_or_else(PoisonError::into_inner);
    let missing = DESCRIPTORS - reserve.len();
    reserve.extend((0..missing).filter_map(|_| File::open("/proc/self/stat").ok()));
}

/// All processes that are not zombies, each with the variable of this name that it was started with. One may be there twice.
///
/// Fails where there is no `/proc`, and when a process cannot be read just now ([`is_shortage`]): it must not be taken for gone.
pub(in crate::process) fn read_all(variable: &str) -> io::Result<Vec<Entry>> {
    read_all_before(variable, None, &mut |_| false)
}

/// The same, where it does not take longer than until this moment. `claim` is told of each process, parents before their children, and says
/// whether its variable need not be read. Where it must be, `claim` is told of the process once more, with it.
///
/// The kernel shows a process's environment only between two of its forks. Those that do nothing but fork let the agent wait for as long as
/// all of them need for one; what stat(2) and the process's state need is there at once.
///
/// Fails with [`io::ErrorKind::TimedOut`], too.
pub(in crate::process) fn read_all_before(
    variable: &str,
    deadline: Option<Instant>,
    claim: &mut dyn FnMut(&Entry) -> bool,
) -> io::Result<Vec<Entry>> {
    match read_all_once(variable, deadline, claim) {
        Err(error) if is_shortage(&error) => {
            RESERVE.lock().unwrap_or_else(PoisonError::into_inner).clear();
            let entries = read_all_once(variable, deadline, claim);
            reserve_descriptors();
            entries
        }
        entries => entries,
    }
}

fn read_all_once(variable: &str, deadline: Option<Instant>, claim: &mut dyn FnMut(&Entry) -> bool) -> io::Result<Vec<Entry>> {
    let in_time = || match deadline {
        Some(deadline) if Instant::now() > deadline => Err(io::Error::from(io::ErrorKind::TimedOut)),
        _ => Ok(()),
    };
    let mut newest = newest();
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let read = |pid| in_time().and_then(|()| Status::read(pid));
    let mut found: Vec<_> = pids.filter_map(|pid| read(pid).transpose()).collect::<io::Result<_>>()?;
    // The reader is itself a process: where nobody is seen, /proc is not what it should be.
    if found.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let generations = generations(found.iter().map(|status| &status.entry));
    found.sort_by_key(|status| generations.get(&status.entry.pid).copied());
    let mut complete = |status: Status| {
        in_time()?;
        if claim(&status.entry) {
            return Ok(status.entry);
        }
        let entry = status.with(variable)?;
        claim(&entry);
        Ok::<_, io::Error>(entry)
    };
    let mut entries: Vec<_> = found.into_iter().map(&mut complete).collect::<io::Result<_>>()?;
    // A chain of processes, each of which starts the next one and ends, would otherwise be past the reader wherever he looks.
    let mut left = NEWEST;
    for _ in 0..LOOKS {
        let known = std::mem::replace(&mut newest, self::newest()).max(newest.saturating_sub(left));
        if newest <= known {
            break;
        }
        left -= newest - known;
        for pid in known + 1..=newest {
            entries.extend(Status::read(pid)?.map(&mut complete).transpose()?);
        }
    }
    Ok(entries)
}

/// How many ancestors each process has among these.
pub(super) fn generations<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> HashMap<i32, usize> {
    let parents: HashMap<i32, i32> = entries.into_iter().map(|entry| (entry.pid, entry.parent)).collect();
    let mut generations: HashMap<i32, usize> = HashMap::with_capacity(parents.len());
    for pid in parents.keys() {
        let mut line = Vec::new();
        let mut above = Some(pid);
        // What was read one after another may form a circle.
        while let Some(pid) = above.filter(|pid| !generations.contains_key(*pid) && line.len() <= parents.len()) {
            line.push(*pid);
            above = parents.get(pid);
        }
        let known = above.and_then(|pid| generations.get(pid)).copied().unwrap_or_default();
        for (distance, pid) in line.into_iter().rev().enumerate() {
            generations.insert(pid, known + distance + 1);
        }
    }
    generations
}

/// Whether the agent, or the machine, lacks descriptors or memory at the moment.
pub(in crate::process) fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// The number of the process, or thread, that was started last; the highest there is where nobody tells.
fn newest() -> i32 {
    let last = |text: String| text.split_ascii_whitespace().last()?.parse().ok();
    fs::read_to_string("/proc/loadavg").ok().and_then(last).unwrap_or(i32::MAX)
}

/// The children of a process, as far as the kernel tells them. Unlike [`read_all`] this costs little.
pub(in crate::process) fn children(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The directory that a process is in.
pub(crate) fn directory(pid: u32) -> io::Result<PathBuf> {
    let owner = Owner::new(&fs::metadata(format!("/proc/{pid}"))?);
    owner.read(pid.cast_signed(), || fs::read_link(format!("/proc/{pid}/cwd")))
}

/// This moment, as [`Entry::started`] counts.
pub(in crate::process) fn now() -> u64 {
    let since_start = clock_gettime(ClockId::Boottime);
    let (seconds, nanoseconds) = (since_start.tv_sec.unsigned_abs(), since_start.tv_nsec.unsigned_abs());
    let ticks = clock_ticks_per_second();
    seconds * ticks + nanoseconds * ticks / 1_000_000_000
}

/// What the kernel tells of a process without waiting for it.
struct Status {
    entry: Entry,
    owner: Owner,
    main_thread: MainThread,
}

impl Status {
    fn read(pid: i32) -> io::Result<Option<Self>> {
        let Some((stat, owner)) = seen(read_stat(pid))? else { return Ok(None) };
        Ok(parse(pid, &stat).map(|(entry, main_thread)| Self { entry, owner, main_thread }))
    }

    /// The process with its variable.
    fn with(self, variable: &str) -> io::Result<Entry> {
        let Self { entry, owner, main_thread } = self;
        let pid = entry.pid;
        let environ = match main_thread {
            MainThread::Runs => owner.read(pid, || read_file(&format!("/proc/{pid}/environ"))),
            // It has no memory any more, where the environment is. So its files are root's, and only its directory says whose it is.
            MainThread::Ended => fs::metadata(format!("/proc/{pid}"))
                .and_then(|directory| Owner::new(&directory).read(pid, || environment_of_threads(pid))),
        };
        let environ = seen(environ)?.unwrap_or_default();
        Ok(Entry { variable: value(&environ, variable).map_or(Variable::Unset, Variable::Set), ..entry })
    }
}

/// What a file mostly has less of.
const USUAL_BYTES: usize = 4 << 10;

/// The most that is read of a file. A process can make its environment look larger than execve(2) lets it be.
const MAX_BYTES: u64 = 8 << 20;

/// `None` of a process that is gone, or may not be looked at.
fn seen<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn read_stat(pid: i32) -> io::Result<(Vec<u8>, Owner)> {
    let mut file = File::open(format!("/proc/{pid}/stat"))?;
    Ok((read_whole(&mut file)?, Owner::new(&file.metadata()?)))
}

fn read_file(path: &str) -> io::Result<Vec<u8>> {
    read_whole(&mut File::open(path)?)
}

/// With room for what there mostly is, one call reads it: when processors are scarce each call costs a wait.
fn read_whole(file: &mut File) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(USUAL_BYTES);
    file.take(MAX_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

/// The environment as the first thread shows it that has one.
fn environment_of_threads(pid: i32) -> io::Result<Vec<u8>> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.file_name();
        let environ = read_file(&format!("/proc/{pid}/task/{}/environ", thread.display()));
        match seen(environ)? {
            Some(environ) if !environ.is_empty() => return Ok(environ),
            _ => {}
        }
    }
    Ok(Vec::new())
}

/// What the descriptors of a process lead to; nothing where it may not be looked at.
pub(crate) fn descriptors(pid: i32) -> Vec<PathBuf> {
    let links = || {
        let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
        Ok(entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect())
    };
    let owner = fs::metadata(format!("/proc/{pid}")).map(|metadata| Owner::new(&metadata));
    owner.and_then(|owner| owner.read(pid, links)).unwrap_or_default()
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
    let stopped = matches!(state, "T" | "t");
    Some((Entry { pid, parent, group, session, stopped, started, variable: Variable::Unread }, main_thread))
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
        let entry = Entry { pid: 7, parent: 1, group: 7, session: 6, stopped: false, started: 0, variable: Variable::Unread };
        let read = |started, main_thread| Some((Entry { started, ..entry.clone() }, main_thread));
        let stopped = Some((Entry { stopped: true, ..entry.clone() }, MainThread::Runs));
        for (stat, expected) in [
            (b"7 (a) b (c) S 1 7 6 0 -1".as_slice(), read(0, MainThread::Runs)),
            (b"7 (half a \xc3) R 1 7 6 0 -1", read(0, MainThread::Runs)),
            (b"7 (x) T 1 7 6 0 -1", stopped.clone()),
            (b"7 (x) t 1 7 6 0 -1", stopped),
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
