//! What is kept of a process that nobody waits for: its newest output in memory, older output on disk, in one piece without a hole.
//!
//! It is kept in pages: runs of stdout and of stderr, one after the other, in one piece of memory that goes to disk as it is. However
//! often the streams alternate, a page has the same size.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Buf, Bytes};

use super::{
    super::{Chunk, Stream},
    Found, Keep,
    spool::{BLOCK_BYTES, Block},
};

/// Bytes of a page at most: what a pipe of Linux holds.
pub(super) const PAGE_BYTES: usize = 64 << 10;

/// Bytes of the head before each run: twice its length, and one more where it is of stderr; little-endian.
const HEAD_BYTES: usize = 4;

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

/// The page that is being written.
#[derive(Debug, Default)]
struct Page {
    bytes: Vec<u8>,
    /// Where the head of the last run stands.
    last: usize,
    /// Bytes of output in it.
    length: u64,
}

impl Page {
    /// Takes as much of this as it has room for, and gives how much that is.
    fn push(&mut self, stream: Stream, bytes: &[u8]) -> usize {
        let goes_on = read_head(&self.bytes[self.last..]).is_some_and(|(last, _)| last == stream);
        let head = if goes_on { 0 } else { HEAD_BYTES };
        let taken = PAGE_BYTES.saturating_sub(self.bytes.len() + head).min(bytes.len());
        if taken > 0 {
            self.grow(head + taken);
            if !goes_on {
                self.last = self.bytes.len();
                self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
            }
            self.bytes.extend_from_slice(&bytes[..taken]);
            let head = write_head(stream, self.bytes.len() - self.last - HEAD_BYTES);
            self.bytes[self.last..self.last + HEAD_BYTES].copy_from_slice(&head);
            self.length += taken as u64;
        }
        taken
    }

    /// Bytes of output in it.
    fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of memory that it takes.
    fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// It will not be written any more.
    fn seal(&mut self) -> Bytes {
        let Self { mut bytes, .. } = std::mem::take(self);
        bytes.shrink_to_fit();
        bytes.into()
    }

    /// A copy of what it holds from this offset on; `end` is the number of the byte after its last.
    fn rest(&self, end: u64, from: u64) -> Runs {
        let (mut place, mut offset) = (0, end - self.length);
        let last = end - (self.bytes.len() - self.last).saturating_sub(HEAD_BYTES) as u64;
        if from >= last {
            (place, offset) = (self.last, last);
        }
        while let Some((stream, length)) = read_head(&self.bytes[place..]) {
            let (run, next) = (place + HEAD_BYTES, offset + length as u64);
            if from < next {
                let skip = usize::try_from(from.saturating_sub(offset)).unwrap_or(length);
                let rest = [&write_head(stream, length - skip), &self.bytes[run + skip..]].concat();
                return Runs::new(rest.into(), from, from);
            }
            (place, offset) = (run + length, next);
        }
        Runs::default()
    }

    /// Grows as vectors do, but never past a page.
    fn grow(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let target = (2 * self.bytes.capacity()).clamp(needed, PAGE_BYTES.max(needed));
            self.bytes.reserve_exact(target - self.bytes.len());
        }
    }
}

/// What of a page is still to be read. A page that makes no sense has no more runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    bytes: Bytes,
    /// Number of the first byte of the next run.
    offset: u64,
    /// The first byte that is wanted.
    from: u64,
}

impl Runs {
    /// Of a page whose first byte has this number, what comes from there on.
    fn new(page: Bytes, offset: u64, from: u64) -> Self {
        Self { bytes: page, offset, from }
    }
}

impl Iterator for Runs {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        loop {
            let (stream, length) = read_head(&self.bytes)?;
            if length > self.bytes.len() - HEAD_BYTES {
                self.bytes.clear();
                return None;
            }
            self.bytes.advance(HEAD_BYTES);
            let (bytes, offset) = (self.bytes.split_to(length), self.offset);
            self.offset += length as u64;
            let skip = usize::try_from(self.from.saturating_sub(offset)).unwrap_or(length);
            if skip < length {
                return Some(Chunk { stream, offset: offset + skip as u64, bytes: bytes.slice(skip..) });
            }
        }
    }
}

fn write_head(stream: Stream, length: usize) -> [u8; HEAD_BYTES] {
    let length = u32::try_from(length).expect("a run is within a page");
    (length << 1 | u32::from(stream == Stream::Stderr)).to_le_bytes()
}

/// The stream and the length of the run that begins here.
fn read_head(bytes: &[u8]) -> Option<(Stream, usize)> {
    let head = u32::from_le_bytes(*bytes.first_chunk()?);
    Some((if head & 1 == 1 { Stream::Stderr } else { Stream::Stdout }, (head >> 1) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

    /// The runs as text: which stream, from where, what.
    fn shown(runs: Runs) -> String {
        let shown = runs.map(|Chunk { stream, offset, bytes }| {
            let stream = if stream == Stream::Stdout { "out" } else { "err" };
            format!("{stream}@{offset}:{}", String::from_utf8_lossy(&bytes))
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn runs_of_one_stream_join_and_are_read_from_any_offset() {
        let mut page = Page::default();
        for (stream, text) in [(0, "ab"), (0, "c"), (1, "de"), (0, "f"), (0, "gh")] {
            assert_eq!(page.push(BOTH[stream], text.as_bytes()), text.len());
        }
        let expected = [
            (10, "out@10:abc err@13:de out@15:fgh"),
            (11, "out@11:bc err@13:de out@15:fgh"),
            (13, "err@13:de out@15:fgh"),
            (14, "err@14:e out@15:fgh"),
            (15, "out@15:fgh"),
            (17, "out@17:h"),
            (18, ""),
            (99, ""),
        ];
        for (from, expected) in expected {
            assert_eq!(shown(page.rest(18, from)), expected, "{from}");
        }
        assert_eq!(page.length(), 8);
        let sealed = page.seal();
        for (from, expected) in expected {
            assert_eq!(shown(Runs::new(sealed.clone(), 10, from)), expected, "{from}");
        }
        assert_eq!((page.length(), page.memory()), (0, 0));
    }

    #[test]
    fn a_page_has_its_size_however_the_streams_alternate() {
        for (step, fits) in
            [(1, PAGE_BYTES / 5), (1_000, PAGE_BYTES / 1_004 * 1_000 + PAGE_BYTES % 1_004 - 4), (100_000, PAGE_BYTES - 4)]
        {
            let mut page = Page::default();
            let taken: usize =
                (0..20_000).map(|number| page.push(BOTH[number % 2], &vec![b'x'; step])).take_while(|taken| *taken > 0).sum();
            assert_eq!((taken, page.length()), (fits, fits as u64), "{step}");
            assert!(page.memory() <= PAGE_BYTES);
        }
    }

    #[test]
    fn nonsense_is_the_end() {
        for bytes in [&b""[..], &[1], &[255; 4], &[255; 100], &[9, 0, 0, 0, 1, 2], &[0; 7]] {
            assert_eq!(Runs::new(Bytes::copy_from_slice(bytes), 0, 0).count(), 0, "{bytes:?}");
        }
    }
}
