//! Archives as the agent and the sandbox's object pass them to each other: a tar stream in chunks that its content defines, so that a change
//! moves only the chunks around it.
//!
//! A stream consists of frames: the chunk's name, how long it is, how long it is compressed, and the compressed bytes. A chunk that the other
//! side has comes without them. The last frame has no name; what follows it is the summary, as JSON.

use std::fmt;

use serde::{Deserialize, Serialize, de};

/// Shortest chunk, in bytes, but for one that ends with a file or with the archive.
pub const MIN_CHUNK_BYTES: usize = 256 << 10;

/// What a chunk has on average.
pub const AVERAGE_CHUNK_BYTES: usize = 1 << 20;

/// Longest chunk.
pub const MAX_CHUNK_BYTES: usize = 4 << 20;

/// Most bytes of a compressed chunk: zstd adds little to what does not shrink.
pub const MAX_STORED_BYTES: usize = MAX_CHUNK_BYTES + (MAX_CHUNK_BYTES >> 7) + 1024;

/// Where the agent makes (`POST`) and extracts (`PUT`) archives in chunks. Only the object reaches it.
pub const PATH: &str = "/chunks";

/// Bytes of the head of a frame.
pub const HEAD_BYTES: usize = ChunkName::BYTES + 8;

/// A chunk's name: the BLAKE3 hash of its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkName(pub [u8; 32]);

impl ChunkName {
    /// Bytes of a name.
    pub const BYTES: usize = 32;

    /// The names in a list, one after the other. What is left over is none.
    pub fn list(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.chunks_exact(Self::BYTES).filter_map(|name| name.try_into().ok().map(Self))
    }

    /// The name that this text is, of 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut name = [0; Self::BYTES];
        if digits.len() != 2 * Self::BYTES {
            return None;
        }
        for (byte, pair) in name.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).filter(|_| !digit.is_ascii_uppercase());
            *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
        }
        Some(Self(name))
    }
}

impl fmt::Display for ChunkName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for ChunkName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChunkName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a chunk's name has 64 hexadecimal digits"))
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The chunk; none at the end.
    pub name: Option<ChunkName>,
    /// Bytes of its content.
    pub raw_bytes: u32,
    /// Bytes that follow: its compressed content, or the summary. 0 for a chunk that the other side has.
    pub stored_bytes: u32,
}

impl Head {
    /// As it is sent.
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        if let Some(ChunkName(name)) = self.name {
            bytes[..ChunkName::BYTES].copy_from_slice(&name);
        }
        bytes[32..36].copy_from_slice(&self.raw_bytes.to_le_bytes());
        bytes[36..].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes
    }

    /// The head that these bytes are. `None` where no frame can begin with them.
    pub fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (raw_bytes, stored_bytes) = (number(32), number(36));
        let mut name = [0; ChunkName::BYTES];
        name.copy_from_slice(&bytes[..ChunkName::BYTES]);
        let name = (raw_bytes > 0).then_some(ChunkName(name));
        let fits = raw_bytes as usize <= MAX_CHUNK_BYTES && stored_bytes as usize <= MAX_STORED_BYTES;
        fits.then_some(Self { name, raw_bytes, stored_bytes })
    }
}

/// What the agent says at the end of an archive that it has made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Bytes of the tar stream.
    pub raw_bytes: u64,
}

/// Takes frames out of pieces of a stream, however it is cut.
#[derive(Debug, Default)]
pub struct FrameReader {
    pending: Vec<u8>,
}

impl FrameReader {
    /// Adds what has arrived.
    pub fn feed(&mut self, piece: &[u8]) {
        self.pending.extend_from_slice(piece);
    }

    /// The next frame that is whole. `Some(Err(_))` where the stream is none of frames.
    #[allow(clippy::result_unit_err, reason = "there is one way to fail")]
    pub fn next_frame(&mut self) -> Option<Result<(Head, Vec<u8>), ()>> {
        let head: &[u8; HEAD_BYTES] = self.pending.first_chunk()?;
        let Some(head) = Head::decode(head) else { return Some(Err(())) };
        let end = HEAD_BYTES + head.stored_bytes as usize;
        if self.pending.len() < end {
            return None;
        }
        let stored = self.pending[HEAD_BYTES..end].to_vec();
        self.pending.drain(..end);
        Some(Ok((head, stored)))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        let name = ChunkName(std::array::from_fn(|index| index as u8 * 7));
        assert_eq!(ChunkName::parse(&name.to_string()), Some(name));
        for text in ["", "00", &"g".repeat(64), &"A".repeat(64), &"0".repeat(65)] {
            assert_eq!(ChunkName::parse(text), None, "{text}");
        }
        assert_eq!(ChunkName::list(&[name.0, name.0].concat()).count(), 2);
    }

    #[test]
    fn frames_are_taken_out_however_the_stream_is_cut() {
        let frame = |name, content: &[u8]| {
            let head = Head { name: Some(ChunkName([name; 32])), raw_bytes: 7, stored_bytes: content.len() as u32 };
            [&head.encode(), content].concat()
        };
        let end = Head { name: None, raw_bytes: 0, stored_bytes: 2 };
        let stream = [frame(1, b"one"), frame(2, b""), [&end.encode()[..], b"{}"].concat()].concat();
        for size in [1, 3, 41, 1000] {
            let mut reader = FrameReader::default();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                reader.feed(piece);
                while let Some(frame) = reader.next_frame() {
                    let (head, stored) = frame.unwrap();
                    found.push((head.name.map(|name| name.0[0]), stored));
                }
            }
            assert_eq!(found, [(Some(1), b"one".to_vec()), (Some(2), vec![]), (None, b"{}".to_vec())]);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn frames_longer_than_any_chunk_are_none() {
        let head = Head { name: Some(ChunkName([1; 32])), raw_bytes: 1, stored_bytes: MAX_STORED_BYTES as u32 + 1 };
        assert_eq!(Head::decode(&head.encode()), None);
        let mut reader = FrameReader::default();
        reader.feed(&head.encode());
        assert_eq!(reader.next_frame(), Some(Err(())));
    }
}
