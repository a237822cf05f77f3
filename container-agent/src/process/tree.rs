//! Everything a process started, however it tried to get away, and how to end it.
//!
//! Who belongs to a tree is read from `/proc`: children of members, members' process groups and sessions, and whoever carries the
//! mark that the agent puts into every process's environment, which a daemon keeps when it changes all the others.

use std::{
    collections::{HashMap, HashSet},
    fs,
    time::Duration,
};

use cabana_protocol::{ProcessId, Signal};
use rustix::process::{self, Pid};

/// The variable that marks a process with its id; all that it starts inherit it.
pub(super) const MARK: &str = "CABANA_PROCESS";

/// Shortest and longest pause between two looks at a tree that is ending.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(50);

/// Whose tree is meant.
#[derive(Debug, Clone)]
pub(super) enum Members {
    /// What this process started.
    Process {
        /// The kernel's number.
        pid: Pid,
        /// The mark.
        id: ProcessId,
    },
    /// What any process of this agent started.
    Incarnation(String),
}

/// Ends a tree: SIGTERM, then, after `grace`, SIGKILL until nothing is left. Completes when all members are gone, but for
/// zombies that wait for their parent.
pub(super) async fn end(members: Members, grace: Duration) {
    let deadline = tokio::time::Instant::now() + grace;
    let mut left = look(members.clone(), Some(Signal::TERM)).await;
    let mut pause = *PAUSES.start();
    while left && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(*PAUSES.end());
        left = look(members.clone(), None).await;
    }
    let mut pause = *PAUSES.start();
    while left {
        left = look(members.clone(), Some(Signal::KILL)).await;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(*PAUSES.end());
    }
}

/// Signals the process group that this process leads.
pub(super) fn signal_group(leader: Pid, signal: Signal) {
    send(signal, |signal| process::kill_process_group(leader, signal));
}

/// Whether there are members; signals them.
async fn look(members: Members, signal: Option<Signal>) -> bool {
    let look = move || match signal {
        Some(Signal::KILL) => kill(&members),
        Some(signal) => {
            let found = members.find(&read_all());
            found.iter().for_each(|pid| send(signal, |signal| process::kill_process(*pid, signal)));
            !found.is_empty()
        }
        None => !members.find(&read_all()).is_empty(),
    };
    // Reading /proc takes a while on a busy machine.
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

/// Stops members until no new ones appear, then kills them: what is stopped cannot fork faster than it is counted.
fn kill(members: &Members) -> bool {
    const ROUNDS: usize = 100;
    let mut stopped = HashSet::new();
    for _ in 0..ROUNDS {
        let found = members.find(&read_all());
        let fresh: Vec<_> = found.into_iter().filter(|pid| stopped.insert(*pid)).collect();
        if fresh.is_empty() {
            break;
        }
        fresh.iter().for_each(|pid| send(Signal::STOP, |signal| process::kill_process(*pid, signal)));
    }
    stopped.iter().for_each(|pid| send(Signal::KILL, |signal| process::kill_process(*pid, signal)));
    !stopped.is_empty()
}

fn send(signal: Signal, kill: impl FnOnce(process::Signal) -> rustix::io::Result<()>) {
    if let Some(signal) = process::Signal::from_named_raw(signal.number()) {
        // It may have ended meanwhile, which is what was wanted.
        let _ = kill(signal);
    }
}

/// What /proc says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    parent: i32,
    group: i32,
    session: i32,
    mark: Option<String>,
}

impl Members {
    /// The members among these processes, never this process itself.
    fn find(&self, all: &HashMap<i32, Entry>) -> HashSet<Pid> {
        let agent = process::getpid().as_raw_nonzero().get();
        let mut found: HashSet<i32> = all.iter().filter(|(pid, entry)| self.is_root(**pid, entry)).map(|(pid, _)| *pid).collect();
        loop {
            let led: HashSet<i32> = found.iter().filter(|pid| **pid != agent).copied().collect();
            let joins = |entry: &Entry| led.contains(&entry.parent) || led.contains(&entry.group) || led.contains(&entry.session);
            let more: Vec<i32> =
                all.iter().filter(|(pid, entry)| !found.contains(pid) && joins(entry)).map(|(pid, _)| *pid).collect();
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        found.remove(&agent);
        found.into_iter().filter_map(Pid::from_raw).collect()
    }

    fn is_root(&self, pid: i32, entry: &Entry) -> bool {
        let mark = entry.mark.as_deref();
        match self {
            Self::Process { pid: root, id } => {
                let root = root.as_raw_nonzero().get();
                pid == root || entry.group == root || entry.session == root || mark == Some(id.as_str())
            }
            Self::Incarnation(incarnation) => {
                mark.and_then(|mark| mark.strip_prefix(incarnation.as_str())).is_some_and(|rest| rest.starts_with('-'))
            }
        }
    }
}

/// All processes that are not zombies.
fn read_all() -> HashMap<i32, Entry> {
    let Ok(processes) = fs::read_dir("/proc") else { return HashMap::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, read(pid)?))).collect()
}

fn read(pid: i32) -> Option<Entry> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    parse(&stat, &environ)
}

/// Reads proc_pid_stat(5) and proc_pid_environ(5); `None` for a zombie.
fn parse(stat: &str, environ: &[u8]) -> Option<Entry> {
    // The name, in parentheses, may itself hold spaces and parentheses.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    let mark = environ
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))
        .map(|mark| String::from_utf8_lossy(mark).into_owned());
    (!matches!(state, "Z" | "X")).then_some(Entry { parent, group, session, mark })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(parent: i32, group: i32, session: i32, mark: Option<&str>) -> Entry {
        Entry { parent, group, session, mark: mark.map(str::to_owned) }
    }

    fn found(members: Members, all: &[(i32, Entry)]) -> Vec<i32> {
        let all = all.iter().cloned().collect();
        let mut found: Vec<_> = members.find(&all).into_iter().map(|pid| pid.as_raw_nonzero().get()).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_tree_is_found_however_it_hides() {
        let all = [
            (1, entry(0, 1, 1, None)),
            (10, entry(1, 10, 1, Some("abc-1"))),
            (11, entry(10, 10, 1, None)),
            (12, entry(11, 12, 12, None)),
            (13, entry(1, 12, 12, None)),
            (14, entry(1, 14, 14, Some("abc-1"))),
            (15, entry(14, 15, 15, None)),
            (20, entry(1, 20, 1, Some("abc-12"))),
            (30, entry(1, 30, 30, None)),
        ];
        let pid = Pid::from_raw(10).unwrap();
        assert_eq!(found(Members::Process { pid, id: ProcessId::new("abc", 1) }, &all), [10, 11, 12, 13, 14, 15]);
        assert_eq!(found(Members::Incarnation("abc".into()), &all), [10, 11, 12, 13, 14, 15, 20]);
        assert!(found(Members::Incarnation("ab".into()), &all).is_empty());
    }

    #[test]
    fn proc_is_read_as_the_manual_says() {
        let environ = b"A=1\0CABANA_PROCESS=abc-1\0B=2\0";
        assert_eq!(parse("7 (a) b (c) S 1 7 6 0 -1", environ), Some(entry(1, 7, 6, Some("abc-1"))));
        assert_eq!(parse("7 (x) R 1 7 6 0 -1", b"XCABANA_PROCESS=abc-1\0"), Some(entry(1, 7, 6, None)));
        for gone in ["7 (x) Z 1 7 6 0 -1", "", "7 (x", "7 (x) S one"] {
            assert_eq!(parse(gone, b""), None, "{gone}");
        }
    }
}
