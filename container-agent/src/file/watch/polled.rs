//! `file.changes`: watches whose callers come back to ask. The kernel keeps what happens between two questions, so nobody has to wait
//! for it here.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cabana_protocol::{
    Error,
    file::{Change, GetChanges, RecentChanges, Watch},
};
use tokio::sync::OwnedSemaphorePermit;

use super::{place, watcher::Watcher};
use crate::{Agent, dispatch::Handle, file::blocking};

/// How long a watch waits to be asked again.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Changes that are kept for callers who ask again.
const KEPT: usize = 4_096;

/// The watches of those who ask. Locked while one of them takes what the kernel has kept, on a thread that may block.
#[derive(Debug, Default)]
pub struct Polled(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    begun: u64,
    watches: Vec<Kept>,
}

/// A watch and what it has told.
#[derive(Debug)]
struct Kept {
    number: u64,
    request: Watch,
    watcher: Watcher,
    log: Log,
    asked: Instant,
    _place: OwnedSemaphorePermit,
}

/// The newest changes, numbered.
#[derive(Debug, Default)]
struct Log {
    changes: VecDeque<Change>,
    /// How many there have been.
    end: u64,
    /// Changes from before this one are not known.
    lost: u64,
}

impl Log {
    fn push(&mut self, change: Change) {
        self.end += 1;
        match change {
            Change::Overflow {} => {
                self.changes.clear();
                self.lost = self.end;
            }
            change => self.changes.push_back(change),
        }
        if self.changes.len() > KEPT {
            self.changes.pop_front();
            self.lost = self.end - KEPT as u64;
        }
    }

    /// What came after so many; none when that is not known.
    fn since(&self, count: u64) -> Option<Vec<Change>> {
        let first = self.end - self.changes.len() as u64;
        let known = (self.lost..=self.end).contains(&count);
        known.then(|| self.changes.iter().skip(usize::try_from(count - first).unwrap_or(usize::MAX)).cloned().collect())
    }
}

impl Handle<GetChanges> for Agent {
    async fn handle(&self, request: GetChanges) -> Result<RecentChanges, Error> {
        let agent = self.clone();
        blocking(self, move |_| agent.polled.ask(&agent, request)).await
    }
}

impl Polled {
    fn ask(&self, agent: &Agent, request: GetChanges) -> Result<RecentChanges, Error> {
        let GetChanges { path, recursive, include, exclude, since } = request;
        let request = Watch { path, recursive, include, exclude, limit: None, timeout_ms: None };
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.watches.retain(|kept| kept.asked.elapsed() < PATIENCE);
        let index = match state.watches.iter().position(|kept| kept.request == request) {
            Some(index) => index,
            None => state.begin(agent, request)?,
        };
        let kept = &mut state.watches[index];
        let over = kept.take();
        let answer = kept.answer(agent.processes.incarnation(), since.as_deref());
        if !matches!(over, Ok(false)) {
            state.watches.remove(index);
        }
        over.map(|_| answer)
    }
}

impl State {
    fn begin(&mut self, agent: &Agent, request: Watch) -> Result<usize, Error> {
        let _place = place(agent)?;
        let watcher = Watcher::open(agent.clone(), &request)?;
        self.begun += 1;
        self.watches.push(Kept { number: self.begun, request, watcher, log: Log::default(), asked: Instant::now(), _place });
        Ok(self.watches.len() - 1)
    }
}

impl Kept {
    /// Takes what the kernel has kept. True when the watch is over.
    fn take(&mut self) -> Result<bool, Error> {
        self.asked = Instant::now();
        loop {
            let batch = self.watcher.take()?;
            batch.changes.into_iter().for_each(|change| self.log.push(change));
            if batch.end.is_some() || !batch.more {
                return Ok(batch.end.is_some());
            }
        }
    }

    fn answer(&self, incarnation: &str, since: Option<&str>) -> RecentChanges {
        let watch = format!("{incarnation}-{}", self.number);
        let version = format!("{watch}.{}", self.log.end);
        let count = since.map_or(Some(self.log.end), |since| since.strip_prefix(&watch)?.strip_prefix('.')?.parse().ok());
        let known = count.and_then(|count| self.log.since(count));
        RecentChanges { resync: known.is_none(), changes: known.unwrap_or_default(), version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_told_and_what_is_not_is_said() {
        let mut log = Log::default();
        let change = |number: usize| Change::Modified { path: number.to_string().as_str().into() };
        (0..3).for_each(|number| log.push(change(number)));
        assert_eq!(log.since(1), Some(vec![change(1), change(2)]));
        assert_eq!((log.since(3), log.since(4)), (Some(vec![]), None));
        log.push(Change::Overflow {});
        log.push(change(9));
        assert_eq!((log.since(3), log.since(4)), (None, Some(vec![change(9)])));
        (0..KEPT).for_each(|number| log.push(change(number)));
        assert_eq!((log.since(4), log.since(5).map(|changes| changes.len())), (None, Some(KEPT)));
    }
}
