//! A place in a journal.

use std::pin::pin;

use super::{super::Chunk, Entry, Found, Journal, page::Runs};
use crate::threads;

/// Reads a journal from some offset on, at its own pace.
#[derive(Debug)]
pub struct Reader {
    journal: Journal,
    at: u64,
    holds: bool,
    /// What was found and not read yet: at most a page.
    runs: Runs,
}

impl Reader {
    pub(super) fn new(journal: Journal, at: u64, holds: bool) -> Self {
        Self { journal, at, holds, runs: Runs::default() }
    }

    /// The next entry. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Entry {
        let journal = self.journal.clone();
        loop {
            let mut written = pin!(journal.0.written.notified());
            written.as_mut().enable();
            if let Some(entry) = self.next_kept().await {
                return entry;
            }
            written.await;
        }
    }

    /// The next entry, if it is there already. Nothing is lost when the future is dropped.
    pub async fn next_kept(&mut self) -> Option<Entry> {
        loop {
            if let Some(chunk) = self.runs.next() {
                return Some(self.pass(chunk));
            }
            match self.journal.find(self.at)? {
                Found::Runs(runs) => self.runs = runs,
                Found::Stored(stored) => {
                    let (at, end) = (self.at, stored.end);
                    let read = threads::run_next(move || stored.read(at)).await;
                    self.runs = read.unwrap_or_default();
                    return Some(match self.runs.next() {
                        Some(chunk) => self.pass(chunk),
                        None => self.miss(end),
                    });
                }
                Found::Chunk(chunk) => return Some(self.pass(chunk)),
                Found::Gap { to } => return Some(self.miss(to)),
                Found::End(result) => return Some(Entry::End(result)),
            }
        }
    }

    fn pass(&mut self, chunk: Chunk) -> Entry {
        self.at = chunk.end();
        if self.holds {
            self.journal.hold_at(Some(self.at));
        }
        Entry::Chunk(chunk)
    }

    fn miss(&mut self, to: u64) -> Entry {
        Entry::Gap { from: std::mem::replace(&mut self.at, to), to }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.holds {
            self.journal.hold_at(None);
        } else {
            self.journal.leave();
        }
    }
}
