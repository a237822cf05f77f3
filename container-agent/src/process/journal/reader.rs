//! Reading a journal.

use std::pin::pin;

use super::{super::Chunk, Entry, Found, Journal, pages::Runs};
use crate::threads;

/// Reads a journal from some offset on, at its own pace.
#[derive(Debug)]
pub struct Reader {
    journal: Journal,
    at: u64,
    /// Its number among those whom the journal knows.
    number: Option<u64>,
    /// What was found and not read yet: at most a page.
    runs: Runs,
}

impl Reader {
    pub(super) fn new(journal: Journal, at: u64, number: Option<u64>) -> Self {
        Self { journal, at, number, runs: Runs::default() }
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
        self.advance();
        Entry::Chunk(chunk)
    }

    fn miss(&mut self, to: u64) -> Entry {
        let from = std::mem::replace(&mut self.at, to);
        self.advance();
        Entry::Gap { from, to }
    }

    fn advance(&self) {
        if let Some(number) = self.number {
            self.journal.advance(number, self.at);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.journal.leave(number);
        }
    }
}
