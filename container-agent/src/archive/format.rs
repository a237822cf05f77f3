//! How an archive is compressed.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    mem,
};

use cabana_protocol::file::ArchiveFormat;
use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};

/// The largest window of zstd that is taken, as a power of two: 8 MiB, which RFC 8878 asks of every reader. What is compressed with
/// `--ultra` or `--long` may ask for more, which would be memory for each archive that is read.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How hard it tries to make zstd's output small: the library's own default.
const ZSTD_LEVEL: i32 = 3;

/// The first bytes of an archive that tell its format.
const MARK_BYTES: u64 = 4;

/// Compressed bytes that are held for their decompression.
const COMPRESSED_BYTES: usize = 128 << 10;

/// The format of what begins with these bytes. A tar archive begins with a name, which is none of the two marks in practice.
fn detect(start: &[u8]) -> ArchiveFormat {
    match start {
        [0x1f, 0x8b, ..] => ArchiveFormat::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ArchiveFormat::Zstd,
        _ => ArchiveFormat::Tar,
    }
}

/// What `input` holds, decompressed; its first bytes say how it is compressed. Of several compressed parts, one after the other is
/// read, as `gzip` and `zstd` do it.
pub(super) fn decoder<'a>(mut input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::new();
    input.by_ref().take(MARK_BYTES).read_to_end(&mut start)?;
    let format = detect(&start);
    let input = BufReader::with_capacity(COMPRESSED_BYTES, io::Cursor::new(start).chain(input));
    Ok(match format {
        ArchiveFormat::Tar => Box::new(input),
        ArchiveFormat::Gzip => Box::new(GzipReader::Between(input)),
        ArchiveFormat::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// Reads what gzip has compressed, in however many parts. Between them and at the end may be NULs, as tapes and block devices add them
/// and gzip(1) takes them; anything else is an error.
enum GzipReader<R> {
    Between(R),
    Within(Box<GzDecoder<R>>),
    Ended,
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            *self = match mem::replace(self, Self::Ended) {
                Self::Ended => return Ok(0),
                Self::Within(mut decoder) => {
                    let read = decoder.read(buffer);
                    if !matches!(read, Ok(0)) || buffer.is_empty() {
                        *self = Self::Within(decoder);
                        return read;
                    }
                    Self::Between(decoder.into_inner())
                }
                Self::Between(mut input) => {
                    let read = input.fill_buf()?;
                    let padding = read.iter().take_while(|byte| **byte == 0).count();
                    match (read.len(), padding) {
                        (0, _) => Self::Ended,
                        (_, 0) => Self::Within(Box::new(GzDecoder::new(input))),
                        _ => {
                            input.consume(padding);
                            Self::Between(input)
                        }
                    }
                }
            };
        }
    }
}

/// Compresses.
pub(super) enum Encoder<W: Write> {
    Tar(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Whatever is written to it goes to `output` in this format.
    pub(super) fn new(format: ArchiveFormat, output: W) -> io::Result<Self> {
        Ok(match format {
            ArchiveFormat::Tar => Self::Tar(output),
            ArchiveFormat::Gzip => Self::Gzip(GzEncoder::new(output, Compression::fast())),
            ArchiveFormat::Zstd => {
                let mut encoder = zstd::Encoder::new(output, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Writes what is still held, and the end.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Tar(output) => Ok(output),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tar(output) => output.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tar(output) => output.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(format: ArchiveFormat, content: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(format, Vec::new()).unwrap();
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn decompressed(input: &[u8]) -> io::Result<Vec<u8>> {
        let mut output = Vec::new();
        decoder(input)?.read_to_end(&mut output)?;
        Ok(output)
    }

    #[test]
    fn the_first_bytes_tell_the_format() {
        for format in ArchiveFormat::ALL {
            let once = compressed(format, b"content");
            assert_eq!(detect(&once), format);
            assert_eq!(decompressed(&once).unwrap(), b"content", "{format:?}");
            assert_eq!(decompressed(&once.repeat(2)).unwrap(), b"contentcontent", "{format:?}, in two parts");
        }
        assert_eq!(decompressed(b"").unwrap(), b"");
    }

    #[test]
    fn gzip_may_be_padded_with_nuls_and_nothing_else() {
        let once = compressed(ArchiveFormat::Gzip, b"content");
        for padding in [1, 512, 3 * COMPRESSED_BYTES] {
            let padded = [once.clone(), vec![0; padding]].concat();
            assert_eq!(decompressed(&padded).unwrap(), b"content", "{padding}");
            assert_eq!(decompressed(&padded.repeat(2)).unwrap(), b"contentcontent", "{padding}, in two parts");
        }
        assert!(decompressed(&[once, b"\0\0garbage".to_vec()].concat()).is_err());
    }

    #[test]
    fn what_is_damaged_is_noticed() {
        for format in [ArchiveFormat::Gzip, ArchiveFormat::Zstd] {
            let whole = compressed(format, &b"content ".repeat(1_000));
            assert!(decompressed(&whole[..whole.len() - 1]).is_err(), "{format:?}, cut off");
            let mut damaged = whole.clone();
            damaged[20] ^= 1;
            assert!(decompressed(&damaged).is_err(), "{format:?}, a bit turned");
        }
    }

    #[test]
    fn a_window_that_takes_too_much_memory_is_refused() {
        let noise: Vec<u8> = (0..100_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (window, taken) in [(ZSTD_WINDOW_LOG, true), (ZSTD_WINDOW_LOG + 1, false)] {
            let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL).unwrap();
            encoder.window_log(window).unwrap();
            encoder.write_all(&noise).unwrap();
            assert_eq!(decompressed(&encoder.finish().unwrap()).is_ok(), taken, "a window of 2^{window} bytes");
        }
    }
}
