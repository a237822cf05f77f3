//! What is kept of a process that nobody waits for: its newest output in memory, older output on disk, in one piece without a hole.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    super::Chunk,
    Found, Keep,
    page::{Page, Runs},
    spool::{BLOCK_BYTES, Block},
};

/// Pages in order: those on disk, those in memory, and the one that is being written.
#[derive(Debug)]
pub(super) struct Pages {
    keep: Keep,
    sealed: VecDeque<Sealed>,
    open: Page,
    /// Number of the next byte.
    end: u64,
    /// Bytes of sealed pages in memory.
    in_memory: u64,
}

/// A page that is not written any more. It ends where the next one begins.
#[derive(Debug)]
struct Sealed {
    /// Number of its first byte.
    offset: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Bytes),
    Disk(Arc<Block>),
}

/// A page on disk, for whoever wants to read it.
#[derive(Debug)]
pub(super) struct Stored {
    block: Arc<Block>,
    offset: u64,
    /// The number of the byte after its last.
    pub(super) end: u64,
}

impl Pages {
    /// No output yet, and what may be kept of it.
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, sealed: VecDeque::new(), open: Page::default(), end: 0, in_memory: 0 }
    }

    /// The first offset that is kept, and the one after the last.
    pub(super) fn bounds(&self) -> (u64, u64) {
        (self.sealed.front().map_or(self.open_offset(), |first| first.offset), self.end)
    }

    /// Bytes that it takes in memory.
    pub(super) fn memory(&self) -> u64 {
        self.in_memory + self.open.memory() as u64
    }

    /// Bytes that it takes on disk.
    pub(super) fn disk(&self) -> u64 {
        self.stored() as u64 * BLOCK_BYTES
    }

    /// How much more it takes in memory than what is to stay there and a page. Without disk it forgets that by itself.
    pub(super) fn surplus(&self) -> u64 {
        if self.keep.disk < BLOCK_BYTES { 0 } else { self.memory().saturating_sub(self.keep.memory + BLOCK_BYTES) }
    }

    /// Whether it takes all that it may on disk.
    pub(super) fn disk_is_full(&self) -> bool {
        self.disk() + BLOCK_BYTES > self.keep.disk
    }

    pub(super) fn push(&mut self, chunk: &Chunk) {
        let mut bytes = &chunk.bytes[..];
        while !bytes.is_empty() {
            let taken = self.open.push(chunk.stream, bytes);
            self.end += taken as u64;
            bytes = &bytes[taken..];
            if taken == 0 {
                self.seal();
            }
        }
        if self.keep.disk < BLOCK_BYTES {
            self.forget_surplus();
        }
    }

    /// What comes at this offset, which is kept; `None` when it has not been written yet.
    pub(super) fn find(&self, at: u64) -> Option<Found> {
        let after = self.sealed.partition_point(|page| page.offset <= at);
        let end = self.sealed.get(after).map_or(self.open_offset(), |next| next.offset);
        match after.checked_sub(1).map(|index| &self.sealed[index]).filter(|_| at < end) {
            Some(Sealed { offset, place: Place::Memory(page) }) => Some(Found::Runs(Runs::new(page.clone(), *offset, at))),
            Some(Sealed { offset, place: Place::Disk(block) }) => {
                Some(Found::Stored(Stored { block: Arc::clone(block), offset: *offset, end }))
            }
            None => (at < self.end).then(|| Found::Runs(self.open.rest(self.end, at))),
        }
    }

    /// The oldest page that is in memory, on its way out.
    pub(super) fn oldest_in_memory(&mut self) -> Option<(u64, Bytes)> {
        if self.stored() == self.sealed.len() {
            self.seal();
        }
        match self.sealed.get(self.stored())? {
            Sealed { offset, place: Place::Memory(page) } => Some((*offset, page.clone())),
            Sealed { place: Place::Disk(_), .. } => None,
        }
    }

    /// The page that begins here is on disk now, or has no place there: then it is forgotten, with all that came before.
    pub(super) fn moved_out(&mut self, offset: u64, block: Option<Block>) {
        let Ok(index) = self.sealed.binary_search_by_key(&offset, |page| page.offset) else { return };
        let Place::Memory(page) = &self.sealed[index].place else { return };
        self.in_memory -= page.len() as u64;
        match block {
            Some(block) => self.sealed[index].place = Place::Disk(Arc::new(block)),
            None => drop(self.sealed.drain(..=index)),
        }
    }

    /// Forgets the oldest page, if it is on disk.
    pub(super) fn forget_oldest_on_disk(&mut self) {
        if self.stored() > 0 {
            self.sealed.pop_front();
        }
    }

    /// Nothing more will be written.
    pub(super) fn close(&mut self) {
        self.seal();
    }

    fn open_offset(&self) -> u64 {
        self.end - self.open.length()
    }

    /// How many pages are on disk.
    fn stored(&self) -> usize {
        self.sealed.partition_point(|page| matches!(page.place, Place::Disk(_)))
    }

    fn seal(&mut self) {
        let offset = self.open_offset();
        if self.open.length() > 0 {
            let page = self.open.seal();
            self.in_memory += page.len() as u64;
            self.sealed.push_back(Sealed { offset, place: Place::Memory(page) });
        }
    }

    /// Forgets the oldest pages without which there is still as much as is to be kept.
    fn forget_surplus(&mut self) {
        while let Some(Sealed { place: Place::Memory(page), .. }) = self.sealed.front() {
            let length = page.len() as u64;
            if self.memory() - length < self.keep.memory {
                return;
            }
            self.in_memory -= length;
            self.sealed.pop_front();
        }
    }
}

impl Stored {
    /// Reads what comes from this offset on. Blocks for as long as the disk takes.
    pub(super) fn read(&self, from: u64) -> Runs {
        match self.block.read() {
            Ok(page) => Runs::new(page.into(), self.offset, from),
            Err(error) => {
                tracing::warn!("a page of the spool cannot be read: {error}");
                Runs::default()
            }
        }
    }
}
