//! Output as it is kept for replay: runs of stdout and of stderr, one after the other, in one piece of memory that goes to disk
//! as it is. However often the streams alternate, a page has the same size.

use bytes::{Buf, Bytes};

use super::super::{Chunk, Stream};

/// Bytes of a page at most: what a pipe of Linux holds.
pub(super) const PAGE_BYTES: usize = 64 << 10;

/// Bytes of the head before each run: twice its length, and one more where it is of stderr; little-endian.
const HEAD_BYTES: usize = 4;

/// The page that is being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    bytes: Vec<u8>,
    /// Where the head of the last run stands.
    last: usize,
    /// Bytes of output in it.
    length: u64,
}

impl Page {
    /// Takes as much of this as it has room for, and gives how much that is.
    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8]) -> usize {
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
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// It will not be written any more.
    pub(super) fn seal(&mut self) -> Bytes {
        let Self { mut bytes, .. } = std::mem::take(self);
        bytes.shrink_to_fit();
        bytes.into()
    }

    /// A copy of what it holds from this offset on; `end` is the number of the byte after its last.
    pub(super) fn rest(&self, end: u64, from: u64) -> Runs {
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
    pub(super) fn new(page: Bytes, offset: u64, from: u64) -> Self {
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
