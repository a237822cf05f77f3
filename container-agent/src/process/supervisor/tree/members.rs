//! Who belongs to a tree of processes.

use std::collections::{HashMap, HashSet};

use rustix::process::Pid;

use super::proc::{Entry, Variable, generations};

/// Whose tree is meant.
#[derive(Debug, Clone)]
pub(crate) enum Members {
    /// What this process started. Nobody may wait for it meanwhile: a zombie keeps its number from being another's.
    Process {
        /// The kernel's number, of it and of its group.
        pid: Pid,
        /// The mark.
        mark: String,
    },
    /// A session's shell and what any of its commands started. The shell is not waited for meanwhile, either.
    Session {
        /// The shell's number, which is that of its group and of its session of processes.
        shell: Pid,
        /// What the marks of all its commands end with.
        secret: String,
    },
    /// What one command of a session started. The shell and what it had started before live on.
    Command {
        /// As above.
        shell: Pid,
        /// The mark that the shell itself was started with: that of a part of it that it has not exchanged for a program.
        shell_mark: String,
        /// The command's own.
        mark: String,
        /// The children that the shell had when the command began.
        before: Vec<i32>,
        /// When it began, as [`Entry::started`] counts.
        since: u64,
    },
    /// No process.
    Nobody,
    /// What any process of this agent started.
    Incarnation {
        /// The beginning of their marks.
        incarnation: String,
        /// A child of the agent's that is none of them, with what it has started.
        spared: Option<Pid>,
    },
}

impl Members {
    /// The members among these processes, never the agent itself. Parents come before their children: so a script is signalled
    /// before what it waits for has ended, and does not go on.
    pub(super) fn among(&self, all: &[Entry], agent: i32) -> Vec<Pid> {
        let others = || all.iter().filter(|entry| entry.pid != agent);
        // Who has a process as its parent, or in its group or session.
        let mut followers: HashMap<i32, Vec<i32>> = HashMap::new();
        for entry in others() {
            for leader in [entry.parent, entry.group, entry.session] {
                followers.entry(leader).or_default().push(entry.pid);
            }
        }
        let mut queue: Vec<i32> = others().filter(|entry| self.is_root(entry, agent)).map(|entry| entry.pid).collect();
        let mut found: HashSet<i32> = queue.iter().copied().collect();
        while let Some(pid) = queue.pop() {
            let joining = followers.get(&pid).into_iter().flatten();
            queue.extend(joining.filter(|pid| found.insert(**pid)));
        }
        let generations = generations(all);
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|pid| generations.get(pid));
        found.into_iter().filter_map(Pid::from_raw).collect()
    }

    pub(super) fn is_root(&self, entry: &Entry, agent: i32) -> bool {
        let mark = entry.variable.value();
        match self {
            Self::Process { pid, mark: own } => {
                let root = pid.as_raw_nonzero().get();
                [entry.pid, entry.group, entry.session, entry.parent].contains(&root) || mark == Some(own.as_bytes())
            }
            Self::Session { shell, secret } => {
                let root = shell.as_raw_nonzero().get();
                let marked = mark.is_some_and(|mark| mark.ends_with(secret.as_bytes()));
                marked || [entry.pid, entry.group, entry.session, entry.parent].contains(&root)
            }
            Self::Command { shell, shell_mark, mark: own, before, since } => {
                let shell = shell.as_raw_nonzero().get();
                let child = entry.parent == shell && !before.contains(&entry.pid);
                // What a part of the shell left behind, which is still the shell's program.
                let orphan = entry.parent == agent && entry.session == shell && entry.pid != shell;
                let unnamed = entry.variable == Variable::Unset || mark == Some(shell_mark.as_bytes());
                mark == Some(own.as_bytes()) || entry.started >= *since && (child || orphan && unnamed)
            }
            Self::Nobody => false,
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
        let variable = mark.map_or(Variable::Unset, |mark| Variable::Set(mark.as_bytes().to_vec()));
        Entry { pid, parent, group, session, stopped: false, started: 0, variable }
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
    fn a_command_of_a_session_is_told_from_those_before_it() {
        let at = |started, entry: Entry| Entry { started, ..entry };
        let all = [
            entry(AGENT, 1, AGENT, 1, None),
            at(10, entry(20, AGENT, 20, 20, Some("abc-s1.k"))),
            // Of a command before: a program, a part of the shell with a program of its own, and what such a part left behind.
            at(50, entry(21, 20, 20, 20, Some("abc-1.k"))),
            at(60, entry(22, 20, 20, 20, Some("abc-s1.k"))),
            at(70, entry(23, 22, 20, 20, Some("abc-1.k"))),
            at(50, entry(24, AGENT, 20, 20, Some("abc-s1.k"))),
            at(50, entry(25, AGENT, 25, 25, Some("abc-1.k"))),
            // Of this one, likewise, and one whose mark cannot be read.
            at(60, entry(31, 20, 20, 20, Some("abc-2.k"))),
            at(60, entry(32, 20, 20, 20, Some("abc-s1.k"))),
            at(60, entry(33, 32, 33, 33, None)),
            at(60, entry(34, AGENT, 20, 20, Some("abc-s1.k"))),
            at(60, entry(35, AGENT, 35, 35, Some("abc-2.k"))),
            at(60, entry(36, AGENT, 20, 20, None)),
            at(60, entry(40, AGENT, 40, 40, Some("abc-3.x"))),
        ];
        let (shell, secret) = (Pid::from_raw(20).unwrap(), ".k".to_owned());
        let (shell_mark, mark) = ("abc-s1.k".to_owned(), "abc-2.k".to_owned());
        let command = Members::Command { shell, shell_mark, mark, before: vec![21, 22], since: 60 };
        assert_eq!(found(command, &all), [31, 32, 33, 34, 35, 36]);
        assert_eq!(found(Members::Session { shell, secret }, &all), [20, 21, 22, 23, 24, 25, 31, 32, 33, 34, 35, 36]);
    }

    #[test]
    fn parents_come_before_their_children_in_a_long_line() {
        let all: Vec<_> = (10..2_010).rev().map(|pid| entry(pid, pid - 1, pid, pid, None)).collect();
        let process = |pid| Members::Process { pid: Pid::from_raw(pid).unwrap(), mark: "abc-1.f".to_owned() };
        let members = process(10).among(&all, AGENT);
        assert!(members.into_iter().map(|pid| pid.as_raw_nonzero().get()).eq(10..2_010));
        // Entries are read one after another, so a pid that was used again may close a circle.
        let circle = [entry(10, 12, 10, 10, None), entry(11, 10, 11, 11, None), entry(12, 11, 12, 12, None)];
        assert_eq!(found(process(10), &circle), [10, 11, 12]);
    }

    #[test]
    fn what_a_zombie_root_left_is_found() {
        let all = [entry(AGENT, 1, AGENT, 1, None), entry(11, 10, 11, 11, None), entry(12, AGENT, 10, 1, None)];
        let pid = Pid::from_raw(10).unwrap();
        assert_eq!(found(Members::Process { pid, mark: "abc-1.f".to_owned() }, &all), [11, 12]);
    }
}
