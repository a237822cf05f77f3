//! What a process printed and its caller has not heard yet. Of a process that is waited for, little else is kept.

use std::collections::VecDeque;

use super::{super::Chunk, Found};

/// How far the holder may be behind before the process has to wait, in bytes.
const WINDOW_BYTES: u64 = 512 << 10;

/// The same in chunks: of a byte each they would take far more memory than they hold.
const WINDOW_CHUNKS: usize = 4_096;

/// What the holder has heard and others may not have, in bytes.
const LISTENERS_BYTES: u64 = 256 << 10;

/// The same in chunks.
const LISTENERS_CHUNKS: usize = 1_024;

/// The newest chunks.
#[derive(Debug, Default)]
pub(super) struct Window {
    chunks: VecDeque<Chunk>,
    /// Number of the next byte.
    end: u64,
    /// Where the holder reads, while there is one.
    holder: Option<u64>,
    /// How many others read.
    listeners: usize,
}

impl Window {
    /// The first offset that is kept, and the one after the last.
    pub(super) fn bounds(&self) -> (u64, u64) {
        (self.chunks.front().map_or(self.end, |chunk| chunk.offset), self.end)
    }

    pub(super) fn push(&mut self, chunk: Chunk) {
        self.end = chunk.end();
        self.chunks.push_back(chunk);
        self.forget();
    }

    /// The holder reads here, or is gone.
    pub(super) fn hold(&mut self, holder: Option<u64>) {
        self.holder = holder;
        self.forget();
    }

    pub(super) fn listen(&mut self) {
        self.listeners += 1;
    }

    pub(super) fn leave(&mut self) {
        self.listeners -= 1;
        self.forget();
    }

    /// Whether the holder is near enough for the process to print more.
    pub(super) fn has_room(&self) -> bool {
        self.holder.is_none_or(|holder| self.end - holder < WINDOW_BYTES && self.chunks.len() < WINDOW_CHUNKS)
    }

    /// What comes at this offset, which is kept; `None` when it has not been written yet.
    pub(super) fn find(&self, at: u64) -> Option<Found> {
        let index = self.chunks.partition_point(|chunk| chunk.end() <= at);
        let chunk = self.chunks.get(index)?;
        let skip = usize::try_from(at - chunk.offset).unwrap_or(chunk.bytes.len());
        Some(Found::Chunk(Chunk { stream: chunk.stream, offset: at, bytes: chunk.bytes.slice(skip..) }))
    }

    /// Drops what nobody is to hear any more.
    fn forget(&mut self) {
        while let Some(first) = self.chunks.front() {
            let owed = self.holder.is_some_and(|holder| holder < first.end());
            let recent = self.end - first.end() < LISTENERS_BYTES && self.chunks.len() <= LISTENERS_CHUNKS;
            if owed || (self.listeners > 0 && recent) {
                return;
            }
            self.chunks.pop_front();
        }
    }
}
