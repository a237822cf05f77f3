//! Everything a process started, and how to end it.
//!
//! Who belongs to a tree is read from `/proc`: children of members, members' process groups and sessions, and whoever carries the
//! mark that the agent puts into every process's environment. So a daemon that has left its parent, group and session is found as
//! long as it keeps its environment. One that has left all four is found only when the agent ends.

use std::{collections::HashSet, io, time::Duration};

use cabana_protocol::Signal;
use rustix::process::{Pid, getpid};

use super::{
    kill::{Whom, send},
    proc::{self, Entry},
};

/// The variable that marks a process; all that it starts inherit it.
pub(super) const MARK: &str = "CABANA_PROCESS";

/// Shortest and longest pause between two looks at a tree that is ending.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(50);

/// Whose tree is meant.
#[derive(Debug, Clone)]
pub(super) enum Members {
    /// What this process started. Nobody may wait for it meanwhile: a zombie keeps its number from being another's.
    Process {
        /// The kernel's number, of it and of its group.
        pid: Pid,
        /// The mark.
        mark: String,
    },
    /// What any process of this agent started.
    Incarnation {
        /// The beginning of their marks.
        incarnation: String,
        /// A child of the agent's that is none of them, with what it has started.
        spared: Option<Pid>,
    },
}

/// Ends a tree: SIGTERM, then, after `grace`, SIGKILL until nothing is left. Completes when all members are gone, but for
/// zombies that wait for their parent. Without `/proc` only the process group is reached.
pub(super) async fn end(members: Members, grace: Duration) {
    let deadline = tokio::time::Instant::now() + grace;
    let mut left = look(&members, Some(Signal::TERM)).await;
    let mut pause = *PAUSES.start();
    while left && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(*PAUSES.end());
        left = look(&members, None).await;
    }
    let mut pause = *PAUSES.start();
    while left {
        left = look(&members, Some(Signal::KILL)).await;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(*PAUSES.end());
    }
}

/// Signals all members once.
pub(super) async fn signal(members: Members, signal: Signal) {
    look(&members, Some(signal)).await;
}

/// Whether there are members; signals them. Reading `/proc` takes a while on a busy machine.
async fn look(members: &Members, signal: Option<Signal>) -> bool {
    let members = members.clone();
    tokio::task::spawn_blocking(move || members.signal(signal)).await.unwrap_or(false)
}

impl Members {
    /// Whether there are members; signals them.
    fn signal(&self, signal: Option<Signal>) -> bool {
        let found = match signal {
            Some(Signal::KILL) => self.kill(),
            Some(signal) => self.find().inspect(|found| {
                for pid in found {
                    send(Whom::Process(*pid), signal);
                    if signal == Signal::TERM {
                        // Whoever is stopped hears nothing else.
                        send(Whom::Process(*pid), Signal::CONT);
                    }
                }
            }),
            None => self.find(),
        };
        found.map_or_else(|_| self.signal_unseen(signal), |found| !found.is_empty())
    }

    /// Stops members until no new ones appear, then kills them: what is stopped cannot fork faster than it is counted. Their groups
    /// are signalled as well, which reaches those at one stroke who were started since they were looked for.
    pub(super) fn kill(&self) -> io::Result<HashSet<Pid>> {
        const ROUNDS: usize = 100;
        let both = |pid: Pid, signal| [Whom::Group(pid), Whom::Process(pid)].into_iter().for_each(|whom| send(whom, signal));
        if let Self::Process { pid, .. } = self {
            both(*pid, Signal::STOP);
        }
        let mut stopped = HashSet::new();
        for _ in 0..ROUNDS {
            let fresh: Vec<_> = self.find()?.into_iter().filter(|pid| stopped.insert(*pid)).collect();
            if fresh.is_empty() {
                break;
            }
            fresh.into_iter().for_each(|pid| both(pid, Signal::STOP));
        }
        stopped.iter().for_each(|pid| both(*pid, Signal::KILL));
        Ok(stopped)
    }

    /// Without `/proc`: signals the group, and cannot tell whether anybody is left once it is killed.
    fn signal_unseen(&self, signal: Option<Signal>) -> bool {
        if let (Self::Process { pid, .. }, Some(signal)) = (self, signal) {
            send(Whom::Group(*pid), signal);
        }
        signal != Some(Signal::KILL)
    }

    fn find(&self) -> io::Result<HashSet<Pid>> {
        Ok(self.among(&proc::read_all(MARK)?, getpid().as_raw_nonzero().get()))
    }

    /// The members among these processes, never the agent itself.
    fn among(&self, all: &[Entry], agent: i32) -> HashSet<Pid> {
        let others = || all.iter().filter(|entry| entry.pid != agent);
        let mut found: HashSet<i32> = others().filter(|entry| self.is_root(entry, agent)).map(|entry| entry.pid).collect();
        loop {
            let joins = |entry: &&Entry| [entry.parent, entry.group, entry.session].iter().any(|pid| found.contains(pid));
            let more: Vec<_> =
                others().filter(|entry| !found.contains(&entry.pid)).filter(joins).map(|entry| entry.pid).collect();
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        found.into_iter().filter_map(Pid::from_raw).collect()
    }

    fn is_root(&self, entry: &Entry, agent: i32) -> bool {
        let mark = entry.variable.as_deref();
        match self {
            Self::Process { pid, mark: own } => {
                let root = pid.as_raw_nonzero().get();
                [entry.pid, entry.group, entry.session, entry.parent].contains(&root) || mark == Some(own.as_bytes())
            }
            // Orphans come to the agent, whatever they have done to their environment.
            Self::Incarnation { incarnation, spared } => {
                let spared = spared.is_some_and(|pid| pid.as_raw_nonzero().get() == entry.pid);
                let marked =
                    mark.and_then(|mark| mark.strip_prefix(incarnation.as_bytes())).is_some_and(|rest| rest.starts_with(b"-"));
                marked || (entry.parent == agent && !spared)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: i32 = 2;

    fn entry(pid: i32, parent: i32, group: i32, session: i32, mark: Option<&str>) -> Entry {
        Entry { pid, parent, group, session, variable: mark.map(|mark| mark.as_bytes().to_vec()) }
    }

    fn found(members: Members, all: &[Entry]) -> Vec<i32> {
        let mut found: Vec<_> = members.among(all, AGENT).into_iter().map(|pid| pid.as_raw_nonzero().get()).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_tree_is_found_however_it_hides() {
        let all = [
            entry(1, 0, 1, 1, None),
            entry(AGENT, 1, AGENT, 1, None),
            entry(10, AGENT, 10, 1, Some("abc-1.f")),
            entry(11, 10, 10, 1, None),
            entry(12, 11, 12, 12, None),
            entry(13, AGENT, 12, 12, None),
            entry(14, AGENT, 14, 14, Some("abc-1.f")),
            entry(15, 14, 15, 15, None),
            entry(20, AGENT, 20, 1, Some("abc-12.e")),
            entry(21, AGENT, 21, 21, None),
            entry(30, 1, 30, 30, None),
            entry(31, 1, 31, 31, Some("abc-12.e")),
        ];
        let pid = Pid::from_raw(10).unwrap();
        let process = Members::Process { pid, mark: "abc-1.f".to_owned() };
        assert_eq!(found(process, &all), [10, 11, 12, 13, 14, 15]);
        let incarnation = |name: &str, spared| {
            found(Members::Incarnation { incarnation: name.to_owned(), spared: Pid::from_raw(spared) }, &all)
        };
        assert_eq!(incarnation("abc", 0), [10, 11, 12, 13, 14, 15, 20, 21, 31]);
        assert_eq!(incarnation("ab", 0), [10, 11, 12, 13, 14, 15, 20, 21], "its own children");
        assert_eq!(incarnation("ab", 10), [13, 14, 15, 20, 21], "what a spared child has left behind is not spared");
    }

    #[test]
    fn what_a_zombie_root_left_is_found() {
        let all = [entry(AGENT, 1, AGENT, 1, None), entry(11, 10, 11, 11, None), entry(12, AGENT, 10, 1, None)];
        let pid = Pid::from_raw(10).unwrap();
        assert_eq!(found(Members::Process { pid, mark: "abc-1.f".to_owned() }, &all), [11, 12]);
    }
}
