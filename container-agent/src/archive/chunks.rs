//! Archives in chunks that their content defines ([`cabana_protocol::chunk`]).
//!
//! What is made is cut where a rolling hash says so: a change moves the chunks around it, and the others are known already. What is extracted is
//! compared with its name before anything is made of it.

use std::{
    collections::HashSet,
    io::{self, Read, Write},
};

use cabana_protocol::{
    Code, Error,
    chunk::{AVERAGE_CHUNK_BYTES, ChunkName, HEAD_BYTES, Head, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, Summary},
};
use fastcdc::v2020::FastCDC;
use zstd::bulk::{Compressor, Decompressor};

/// How hard it tries to make chunks small. Fast: the network and the disk have the last word.
const ZSTD_LEVEL: i32 = 1;

/// What the making or the extraction of an archive in chunks takes in memory: the bytes that wait for their cut, a chunk, and its compressed form.
pub const CHUNKING_BYTES: usize = 3 * MAX_CHUNK_BYTES;

/// Cuts what is written to it.
pub struct Chunker<W> {
    output: W,
    /// What the other side has.
    known: HashSet<ChunkName>,
    compressor: Compressor<'static>,
    pending: Vec<u8>,
    summary: Summary,
}

impl<W: Write> Chunker<W> {
    /// Writes frames to `output`, those of these chunks without their content.
    pub fn new(output: W, known: HashSet<ChunkName>) -> io::Result<Self> {
        let compressor = Compressor::new(ZSTD_LEVEL)?;
        Ok(Self { output, known, compressor, pending: Vec::with_capacity(MAX_CHUNK_BYTES), summary: Summary::default() })
    }

    /// Writes what is left, and the end.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        let summary = serde_json::to_vec(&self.summary)?;
        let head = Head { name: None, raw_bytes: 0, stored_bytes: summary.len() as u32 };
        self.output.write_all(&head.encode())?;
        self.output.write_all(&summary)
    }

    /// Writes the first chunk of what waits, of which there is enough for the longest, or which is all.
    fn cut(&mut self) -> io::Result<()> {
        let chunk = FastCDC::new(&self.pending, MIN_CHUNK_BYTES, AVERAGE_CHUNK_BYTES, MAX_CHUNK_BYTES).next();
        let length = chunk.map_or(self.pending.len(), |chunk| chunk.length);
        let content = &self.pending[..length];
        let name = ChunkName(*blake3::hash(content).as_bytes());
        let stored = if self.known.insert(name) { self.compressor.compress(content)? } else { Vec::new() };
        let head = Head { name: Some(name), raw_bytes: length as u32, stored_bytes: stored.len() as u32 };
        self.output.write_all(&head.encode())?;
        self.output.write_all(&stored)?;
        self.summary.raw_bytes += length as u64;
        self.pending.drain(..length);
        Ok(())
    }
}

impl<W: Write> Write for Chunker<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(MAX_CHUNK_BYTES - self.pending.len());
        self.pending.extend_from_slice(&bytes[..count]);
        if self.pending.len() == MAX_CHUNK_BYTES {
            self.cut()?;
        }
        Ok(count)
    }

    /// Ends a chunk, so that what follows begins with one.
    fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            self.cut()?;
        }
        Ok(())
    }
}

/// Reads the content of chunks, each once its name has proved true.
pub struct ChunkReader<R> {
    input: R,
    decompressor: Decompressor<'static>,
    content: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> ChunkReader<R> {
    /// Reads frames from `input`.
    pub fn new(input: R) -> io::Result<Self> {
        Ok(Self { input, decompressor: Decompressor::new()?, content: Vec::new(), at: 0, ended: false })
    }

    /// Reads the next chunk; the content is empty at the end.
    fn advance(&mut self) -> io::Result<()> {
        let mut head = [0; HEAD_BYTES];
        self.input.read_exact(&mut head)?;
        let head = Head::decode(&head).ok_or_else(|| damaged("there is no chunk where one should begin"))?;
        let mut stored = vec![0; head.stored_bytes as usize];
        self.input.read_exact(&mut stored)?;
        self.at = 0;
        let Some(name) = head.name else {
            (self.content, self.ended) = (Vec::new(), true);
            return Ok(());
        };
        self.content = self
            .decompressor
            .decompress(&stored, head.raw_bytes as usize)
            .map_err(|_| damaged(&format!("the chunk {name} cannot be decompressed")))?;
        if self.content.len() != head.raw_bytes as usize || *blake3::hash(&self.content).as_bytes() != name.0 {
            return Err(damaged(&format!("the chunk {name} is not what it was")));
        }
        Ok(())
    }
}

impl<R: Read> Read for ChunkReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.content.len() && !self.ended {
            self.advance()?;
        }
        let count = buffer.len().min(self.content.len() - self.at);
        buffer[..count].copy_from_slice(&self.content[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::other(Error::new(Code::Unprocessable, format!("the archive is damaged: {what}")).because("damaged"))
}

#[cfg(test)]
mod tests {
    use cabana_protocol::chunk::FrameReader;

    use super::*;

    /// Content that does not repeat, the same at each call.
    fn content(length: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn cut(bytes: &[u8], known: HashSet<ChunkName>) -> Vec<u8> {
        let mut output = Vec::new();
        let mut chunker = Chunker::new(&mut output, known).unwrap();
        bytes.chunks(100_003).for_each(|piece| chunker.write_all(piece).unwrap());
        chunker.finish().unwrap();
        output
    }

    fn frames(stream: &[u8]) -> Vec<(Head, Vec<u8>)> {
        let mut reader = FrameReader::default();
        reader.feed(stream);
        std::iter::from_fn(|| reader.next_frame()).collect::<Result<_, _>>().unwrap()
    }

    fn names(stream: &[u8]) -> HashSet<ChunkName> {
        frames(stream).iter().filter_map(|(head, _)| head.name).collect()
    }

    fn read(stream: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        ChunkReader::new(stream)?.read_to_end(&mut content).map(|_| content)
    }

    #[test]
    fn chunks_are_read_back_to_the_last_byte() {
        for length in [0, 1, MIN_CHUNK_BYTES, 5 * MAX_CHUNK_BYTES + 7] {
            let bytes = content(length, 7);
            let stream = cut(&bytes, HashSet::new());
            assert!(read(&stream).unwrap() == bytes, "{length}");
            let (end, summary) = frames(&stream).pop().unwrap();
            assert_eq!(end.name, None);
            assert_eq!(serde_json::from_slice::<Summary>(&summary).unwrap().raw_bytes, length as u64);
        }
    }

    #[test]
    fn a_change_moves_the_chunks_around_it_and_no_others() {
        let before = content(40 << 20, 1);
        let mut after = before.clone();
        after.splice(17 << 20..17 << 20, b"inserted".iter().copied());
        let known = names(&cut(&before, HashSet::new()));
        let stream = cut(&after, known.clone());
        let new = frames(&stream).into_iter().filter(|(head, stored)| head.name.is_some() && !stored.is_empty()).count();
        assert!((1..=3).contains(&new) && known.len() > 20, "{new} of {}", known.len());
    }

    #[test]
    fn the_same_content_twice_is_sent_once() {
        let zeros = vec![0; 6 * MAX_CHUNK_BYTES];
        let stream = cut(&zeros, HashSet::new());
        assert_eq!(frames(&stream).iter().filter(|(head, stored)| head.name.is_some() && !stored.is_empty()).count(), 1);
        assert!(stream.len() < 10_000, "{}", stream.len());
    }

    #[test]
    fn equal_files_are_sent_once_whatever_is_before_them() {
        let large = content(3 << 20, 11);
        let mut output = Vec::new();
        let mut chunker = Chunker::new(&mut output, HashSet::new()).unwrap();
        for before in [&b"one"[..], b"and another"] {
            chunker.write_all(before).unwrap();
            chunker.flush().unwrap();
            chunker.write_all(&large).unwrap();
            chunker.flush().unwrap();
        }
        chunker.finish().unwrap();
        assert!((large.len()..large.len() + 10_000).contains(&output.len()), "{}", output.len());
    }

    #[test]
    fn what_is_damaged_or_cut_short_is_refused() {
        let stream = cut(&content(2 * MAX_CHUNK_BYTES, 3), HashSet::new());
        let code = |stream: &[u8]| read(stream).unwrap_err().downcast::<Error>().map(|error| error.code).ok();
        for at in [HEAD_BYTES + 100, HEAD_BYTES + 200_000] {
            let mut damaged = stream.clone();
            damaged[at] ^= 1;
            assert_eq!(code(&damaged), Some(Code::Unprocessable), "{at}");
        }
        let mut renamed = stream.clone();
        renamed[3] ^= 1;
        assert_eq!(code(&renamed), Some(Code::Unprocessable));
        for length in [10, HEAD_BYTES, stream.len() / 2, stream.len() - 1] {
            assert!(read(&stream[..length]).is_err(), "{length}");
        }
    }
}
