//! Which process started by a caller any other one descends from.

use std::{collections::HashMap, io};

use cabana_protocol::ProcessId;

use super::{
    MARK,
    proc::{self, Entry},
};
use crate::process::Processes;

/// All processes of one moment, by their numbers.
#[derive(Debug)]
pub struct Origins {
    incarnation: String,
    entries: HashMap<i32, Entry>,
    /// Those that callers started.
    started: HashMap<i32, ProcessId>,
}

impl Processes {
    /// Looks at all processes. Reads `/proc`, which may take a while.
    pub fn origins(&self) -> io::Result<Origins> {
        let running = self.list().into_iter().filter(|process| process.journal.result().is_none());
        let started = running.filter_map(|process| Some((i32::try_from(process.pid).ok()?, process.id.clone()))).collect();
        let entries = proc::read_all(MARK)?.into_iter().map(|entry| (entry.pid, entry)).collect();
        Ok(Origins { incarnation: self.incarnation().to_owned(), entries, started })
    }
}

impl Origins {
    /// The process that this one is or descends from: by its parents, or, where they are gone, by the mark that it inherited.
    pub fn of(&self, pid: i32) -> Option<ProcessId> {
        let parent = |pid: &i32| self.entries.get(pid).map(|entry| entry.parent);
        // What was read one after another may form a circle.
        let mut ancestors = std::iter::successors(Some(pid), parent).take(self.entries.len() + 1);
        ancestors.find_map(|pid| self.started.get(&pid).cloned().or_else(|| self.marked(self.entries.get(&pid)?)))
    }

    fn marked(&self, entry: &Entry) -> Option<ProcessId> {
        let mark = std::str::from_utf8(entry.variable.value()?).ok()?;
        let (number, _) = mark.strip_prefix(&self.incarnation)?.strip_prefix('-')?.split_once('.')?;
        Some(ProcessId::new(&self.incarnation, number.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::proc::Variable, *};

    #[test]
    fn an_origin_is_found_by_parents_and_by_mark() {
        let all = [
            (1, 0, None),
            (2, 1, None),
            (10, 2, Some("abc-1.f")),
            (11, 10, None),
            (12, 2, Some("abc-2.e")),
            (13, 12, None),
            (20, 1, Some("xyz-3.d")),
            (21, 1, Some("abc-x.d")),
            (30, 31, None),
            (31, 30, None),
        ];
        let entry = |(pid, parent, mark): (i32, i32, Option<&str>)| {
            (
                pid,
                Entry {
                    pid,
                    parent,
                    group: pid,
                    session: pid,
                    stopped: false,
                    started: 0,
                    variable: mark.map_or(Variable::Unset, |mark| Variable::Set(mark.as_bytes().to_vec())),
                },
            )
        };
        let origins = Origins {
            incarnation: "abc".to_owned(),
            entries: all.into_iter().map(entry).collect(),
            started: [(10, ProcessId::new("abc", 1))].into(),
        };
        for (pid, number) in [
            (10, Some(1)),
            (11, Some(1)),
            (12, Some(2)),
            (13, Some(2)),
            (20, None),
            (21, None),
            (30, None),
            (1, None),
            (99, None),
        ] {
            assert_eq!(origins.of(pid), number.map(|number| ProcessId::new("abc", number)), "{pid}");
        }
    }
}
