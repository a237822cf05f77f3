//! What a process printed and its caller has not heard yet, and what it may have to hear again.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::{super::Chunk, Found, tail::Tail};

/// How far the holder may be behind before the process has to wait, in bytes.
const WINDOW_BYTES: u64 = 512 << 10;

/// The same in chunks: of a byte each they would take far more memory than they hold.
const WINDOW_CHUNKS: usize = 4_096;

/// What the holder has heard and others may not have, in bytes.
const LISTENERS_BYTES: u64 = 256 << 10;

/// The same in chunks.
const LISTENERS_CHUNKS: usize = 1_024;

/// The newest chunks.
#[derive(Debug)]
pub(super) struct Window {
    chunks: VecDeque<Chunk>,
    /// Number of the next byte.
    end: u64,
    /// The readers by their numbers, in the order in which they came.
    readers: BTreeMap<u64, Place>,
    /// The number of the next reader.
    next: u64,
    /// The reader that the process waits for: the first, and after that one, where it may return, the newest caller.
    holder: Option<u64>,
    /// What is kept behind the holder, where it may return.
    tail: Option<Tail>,
    /// Where the last holder was, and when it left, while another may come.
    lost: Option<(u64, Instant)>,
}

/// Where somebody reads.
#[derive(Debug)]
struct Place {
    at: u64,
    /// Whether it waits for the process, or only looks.
    attends: bool,
}

impl Window {
    pub(super) fn new(tail: Option<Tail>) -> Self {
        let (chunks, readers) = (VecDeque::new(), BTreeMap::new());
        Self { chunks, end: 0, readers, next: 0, holder: None, tail, lost: None }
    }

    /// The first offset that is kept, and the one after the last.
    pub(super) fn bounds(&self) -> (u64, u64) {
        (self.chunks.front().map_or(self.end, |chunk| chunk.offset), self.end)
    }

    pub(super) fn push(&mut self, chunk: Chunk) {
        self.end = chunk.end();
        self.chunks.push_back(chunk);
        self.forget();
    }

    /// The process has ended: nothing will be added.
    pub(super) fn close(&mut self) {
        self.tail.iter_mut().for_each(Tail::close);
        self.forget();
    }

    /// Somebody begins to read here, who waits for the process, or only looks. Returns its number.
    pub(super) fn enter(&mut self, at: u64, attends: bool) -> u64 {
        let number = self.next;
        self.next += 1;
        self.readers.insert(number, Place { at, attends });
        if number == 0 || attends && self.lost.take().is_some() {
            self.holder = Some(number);
            self.forget();
        }
        number
    }

    /// A reader is here now.
    pub(super) fn advance(&mut self, number: u64, at: u64) {
        if let Some(place) = self.readers.get_mut(&number) {
            place.at = at;
            self.forget();
        }
    }

    /// A reader is gone.
    pub(super) fn leave(&mut self, number: u64) {
        let at = self.readers.remove(&number).map_or(self.end, |place| place.at);
        if self.holder == Some(number) {
            let newest = self.readers.iter().rfind(|(_, place)| place.attends).map(|(number, _)| *number);
            self.holder = newest.filter(|_| self.tail.is_some());
            self.lost = (self.holder.is_none() && self.tail.is_some()).then(|| (at, Instant::now()));
        }
        self.forget();
    }

    /// When the process is given up, unless somebody comes.
    pub(super) fn deserted_at(&self) -> Option<Instant> {
        let ((_, since), tail) = self.lost.zip(self.tail.as_ref())?;
        Some(since + tail.grace)
    }

    /// Begins the grace of a caller who is gone anew.
    pub(super) fn renew_grace(&mut self) {
        if let Some((_, since)) = &mut self.lost {
            *since = Instant::now();
        }
    }

    /// Nobody has come in time: nothing is kept for those who may return, and the process waits for nobody.
    pub(super) fn give_up(&mut self) {
        (self.tail, self.lost) = (None, None);
        self.forget();
    }

    /// What is kept for those who may return.
    pub(super) fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// Whether the reader that the process waits for is near enough for it to print more.
    pub(super) fn has_room(&self) -> bool {
        self.held_at().is_none_or(|at| {
            let unread = self.chunks.len() - self.chunks.partition_point(|chunk| chunk.end() <= at);
            self.end.saturating_sub(at) < WINDOW_BYTES && unread < WINDOW_CHUNKS
        })
    }

    /// What comes at this offset, which is kept; `None` when it has not been written yet.
    pub(super) fn find(&self, at: u64) -> Option<Found> {
        let index = self.chunks.partition_point(|chunk| chunk.end() <= at);
        let chunk = self.chunks.get(index)?;
        let skip = usize::try_from(at - chunk.offset).unwrap_or(chunk.bytes.len());
        Some(Found::Chunk(Chunk { stream: chunk.stream, offset: at, bytes: chunk.bytes.slice(skip..) }))
    }

    /// Where the process waits.
    fn held_at(&self) -> Option<u64> {
        let holder = self.holder.and_then(|holder| self.readers.get(&holder));
        holder.map(|place| place.at).or(self.lost.map(|(at, _)| at))
    }

    /// Drops what nobody is to hear any more, and what there is no memory for.
    fn forget(&mut self) {
        let held = self.held_at();
        let listened = self.readers.len() > usize::from(self.holder.is_some());
        while let Some(first) = self.chunks.front() {
            let (end, count) = (first.end(), self.chunks.len());
            let owed = held.is_some_and(|at| at < end);
            let recent = listened && self.end - end < LISTENERS_BYTES && count <= LISTENERS_CHUNKS;
            let kept = held.zip(self.tail.as_ref()).is_some_and(|(at, tail)| at >= end && tail.keeps(at - end, count));
            if !owed && !recent && !kept {
                self.chunks.pop_front();
                continue;
            }
            // What waits for a caller who has left is accounted for. What is on its way to one who reads is not: it is bounded by itself.
            let until = if self.lost.is_some() { self.end } else { held.filter(|_| !owed).unwrap_or(0) };
            let bytes = until.saturating_sub(first.offset);
            let Some(tail) = self.tail.as_mut().filter(|_| bytes > 0) else { break };
            if tail.account(bytes, count) {
                return;
            }
            self.chunks.pop_front();
        }
        if let Some(tail) = &mut self.tail {
            tail.account(0, 0);
        }
    }
}
