//! What a process printed, each byte numbered: written by its owner, read from any offset by whoever wants to, at their own pace.
//!
//! A journal keeps its newest bytes for replay. A reader that comes late or falls behind is told what it missed and stalls nobody;
//! only the reader that holds the journal, the caller who waits for the process, is waited for.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use cabana_protocol::exec::ExecResult;
use tokio::sync::Notify;

use super::Chunk;

/// How far the holder may be behind before the process has to wait.
const WINDOW_BYTES: u64 = 512 << 10;

/// A handle on a journal; clones mean the same.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Held for a few instructions, never across an await.
    pages: Mutex<Pages>,
    /// Something was written, or the process has ended.
    written: Notify,
    /// The holder has read on, or is gone.
    read: Notify,
}

#[derive(Debug)]
struct Pages {
    chunks: VecDeque<Chunk>,
    /// Bytes in them.
    kept: u64,
    /// Bytes to keep for replay.
    replay: u64,
    /// Number of the next byte.
    end: u64,
    /// Where the holder reads, while there is one.
    holder: Option<u64>,
    result: Option<ExecResult>,
}

/// The next thing in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A piece of output.
    Chunk(Chunk),
    /// Bytes that are no longer kept.
    Gap {
        /// The first of them.
        from: u64,
        /// The first that is there again.
        to: u64,
    },
    /// The process has ended; nothing comes after it.
    End(ExecResult),
}

/// A place in a journal.
#[derive(Debug)]
pub struct Reader {
    journal: Journal,
    at: u64,
    holds: bool,
}

impl Journal {
    /// An empty journal that keeps this many bytes for replay.
    pub(super) fn new(replay: u64) -> Self {
        let pages = Pages { chunks: VecDeque::new(), kept: 0, replay, end: 0, holder: None, result: None };
        Self(Arc::new(Shared { pages: Mutex::new(pages), written: Notify::new(), read: Notify::new() }))
    }

    /// Reads from this offset on.
    pub fn read(&self, from: u64) -> Reader {
        Reader { journal: self.clone(), at: from, holds: false }
    }

    /// Reads from the beginning, and has the process wait for it.
    pub(super) fn hold(&self) -> Reader {
        self.with(|pages| pages.holder = Some(0));
        Reader { journal: self.clone(), at: 0, holds: true }
    }

    /// The first offset that is kept, and the one after the last.
    pub fn bounds(&self) -> (u64, u64) {
        self.with(|pages| (pages.start(), pages.end))
    }

    /// How the process ended, once it has.
    pub fn result(&self) -> Option<ExecResult> {
        self.with(|pages| pages.result.clone())
    }

    /// Adds a chunk; its offset is the journal's end.
    pub(super) fn push(&self, chunk: Chunk) {
        self.with(|pages| {
            debug_assert_eq!(chunk.offset, pages.end, "chunks come in order");
            pages.kept += chunk.bytes.len() as u64;
            pages.end += chunk.bytes.len() as u64;
            pages.chunks.push_back(chunk);
            pages.forget();
        });
        self.0.written.notify_waiters();
    }

    /// Closes it with how the process ended, keeping no more than this for replay.
    pub(super) fn end(&self, result: ExecResult, replay: u64) {
        self.with(|pages| {
            pages.result = Some(result);
            pages.replay = pages.replay.min(replay);
            pages.forget();
        });
        self.0.written.notify_waiters();
    }

    /// Waits until the holder is not far behind.
    pub(super) async fn room(&self) {
        loop {
            let read = self.0.read.notified();
            let mut read = std::pin::pin!(read);
            read.as_mut().enable();
            if self.with(|pages| pages.holder.is_none_or(|holder| pages.end - holder < WINDOW_BYTES)) {
                return;
            }
            read.await;
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Pages) -> T) -> T {
        look(&mut self.0.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pages {
    fn start(&self) -> u64 {
        self.end - self.kept
    }

    /// Drops what is neither for replay nor still to be read by the holder.
    fn forget(&mut self) {
        while let Some(first) = self.chunks.front() {
            let (length, next) = (first.bytes.len() as u64, first.offset + first.bytes.len() as u64);
            if self.kept - length < self.replay || self.holder.is_some_and(|holder| holder < next) {
                return;
            }
            self.kept -= length;
            self.chunks.pop_front();
        }
    }

    /// What comes at this offset; `None` when it has not been written yet.
    fn entry(&self, at: u64) -> Option<Entry> {
        let start = self.start();
        if at < start {
            return Some(Entry::Gap { from: at, to: start });
        }
        let index = self.chunks.partition_point(|chunk| chunk.offset + chunk.bytes.len() as u64 <= at);
        match self.chunks.get(index) {
            Some(chunk) => {
                let skip = usize::try_from(at - chunk.offset).unwrap_or(chunk.bytes.len());
                Some(Entry::Chunk(Chunk { stream: chunk.stream, offset: at, bytes: chunk.bytes.slice(skip..) }))
            }
            None => self.result.clone().map(Entry::End),
        }
    }
}

impl Reader {
    /// The next entry. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Entry {
        let journal = self.journal.clone();
        loop {
            let written = journal.0.written.notified();
            let mut written = std::pin::pin!(written);
            written.as_mut().enable();
            if let Some(entry) = journal.with(|pages| pages.entry(self.at)) {
                self.advance(&entry);
                return entry;
            }
            written.await;
        }
    }

    /// The next entry that is there already.
    pub fn try_next(&mut self) -> Option<Entry> {
        let entry = self.journal.with(|pages| pages.entry(self.at))?;
        self.advance(&entry);
        Some(entry)
    }

    fn advance(&mut self, entry: &Entry) {
        self.at = match entry {
            Entry::Chunk(chunk) => chunk.offset + chunk.bytes.len() as u64,
            Entry::Gap { to, .. } => *to,
            Entry::End(_) => return,
        };
        if self.holds {
            self.hold_at(Some(self.at));
        }
    }

    fn hold_at(&self, at: Option<u64>) {
        self.journal.with(|pages| {
            pages.holder = at;
            pages.forget();
        });
        self.journal.0.read.notify_one();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.holds {
            self.hold_at(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use cabana_protocol::{ProcessId, exec::Exit};

    use super::*;
    use crate::process::Stream;

    fn write(journal: &Journal, text: &'static str) {
        let (_, offset) = journal.bounds();
        journal.push(Chunk { stream: Stream::Stdout, offset, bytes: text.into() });
    }

    fn result() -> ExecResult {
        ExecResult { process: ProcessId::new("a", 1), exit: Some(Exit::Exited { code: 0 }), duration_ms: 1, usage: None }
    }

    /// What a reader finds, as text.
    fn read(reader: &mut Reader) -> String {
        let entries = std::iter::from_fn(|| match reader.try_next()? {
            Entry::Chunk(chunk) => Some(format!("{}:{}", chunk.offset, String::from_utf8_lossy(&chunk.bytes))),
            Entry::Gap { from, to } => Some(format!("gap {from}-{to}")),
            Entry::End(_) => None,
        });
        entries.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn any_offset_is_read_or_named_as_missing() {
        let journal = Journal::new(6);
        ["abc", "def", "ghi"].into_iter().for_each(|text| write(&journal, text));
        for (from, expected) in [(0, "gap 0-3 3:def 6:ghi"), (3, "3:def 6:ghi"), (4, "4:ef 6:ghi"), (8, "8:i"), (9, ""), (99, "")]
        {
            assert_eq!(read(&mut journal.read(from)), expected, "{from}");
        }
        assert_eq!(journal.bounds(), (3, 9));
    }

    #[test]
    fn the_holder_misses_nothing_and_the_rest_is_forgotten() {
        let journal = Journal::new(0);
        let mut holder = journal.hold();
        ["abc", "def"].into_iter().for_each(|text| write(&journal, text));
        assert_eq!(journal.bounds(), (0, 6));
        assert_eq!(read(&mut holder), "0:abc 3:def");
        assert_eq!(journal.bounds(), (6, 6));
        drop(holder);
        write(&journal, "ghi");
        assert_eq!(read(&mut journal.read(6)), "gap 6-9");
    }

    #[tokio::test]
    async fn a_process_waits_for_its_holder_and_for_nobody_else() {
        let journal = Journal::new(0);
        let mut holder = journal.hold();
        let bystander = journal.read(0);
        let text: &'static str = "x".repeat(1 << 20).leak();
        write(&journal, text);
        assert!(tokio::time::timeout(std::time::Duration::ZERO, journal.room()).await.is_err());
        let waiting = tokio::spawn({
            let journal = journal.clone();
            async move { journal.room().await }
        });
        assert!(matches!(holder.next().await, Entry::Chunk(_)));
        waiting.await.unwrap();
        drop((holder, bystander));
        write(&journal, text);
        journal.room().await;
    }

    #[tokio::test]
    async fn readers_wake_for_what_is_written_and_for_the_end() {
        let journal = Journal::new(100);
        let mut reader = journal.read(0);
        let reading = tokio::spawn(async move { (reader.next().await, reader.next().await, reader.next().await) });
        tokio::task::yield_now().await;
        write(&journal, "abc");
        journal.end(result(), 0);
        let (first, second, third) = reading.await.unwrap();
        assert!(matches!(first, Entry::Chunk(_)) || first == Entry::Gap { from: 0, to: 3 });
        assert_eq!((second, third), (Entry::End(result()), Entry::End(result())));
    }
}
