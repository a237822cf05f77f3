//! Writing a tar archive as POSIX.1 (pax) says: what a header cannot hold, such as fractions of a second, precedes it.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use rustix::fs::{Statx, StatxTimestamp};
use tar::{EntryType, Header};

/// Archives consist of blocks of this size.
const BLOCK_BYTES: usize = 512;

/// Bytes of a file that are read at a time. One that has as many is large.
const READ_BYTES: usize = 256 << 10;

/// What extended headers are called, for readers that take them for files.
const EXTENDED_NAME: &[u8] = b"././@PaxHeader";

/// An archive that grows member by member.
pub(super) struct Writer<W> {
    output: W,
    buffer: Vec<u8>,
}

/// Why a member cannot be written.
#[derive(Debug)]
pub(super) enum Failed {
    /// The file cannot be read.
    Reading(io::Error),
    /// The archive cannot be written to.
    Writing(io::Error),
}

impl<W: Write> Writer<W> {
    pub(super) fn new(output: W) -> Self {
        Self { output, buffer: vec![0; READ_BYTES] }
    }

    /// Adds a directory.
    pub(super) fn directory(&mut self, name: &[u8], stat: &Statx) -> io::Result<()> {
        self.header(header(stat, EntryType::Directory, 0), &[name, b"/"].concat(), b"", stat.stx_mtime)
    }

    /// Adds a symlink.
    pub(super) fn symlink(&mut self, name: &[u8], stat: &Statx, to: &[u8]) -> io::Result<()> {
        self.header(header(stat, EntryType::Symlink, 0), name, to, stat.stx_mtime)
    }

    /// Adds a file.
    ///
    /// A file that changes meanwhile is stored as it is read, up to the size that it had. One that becomes shorter cannot be,
    /// unless it is read at once: its size is written already.
    ///
    /// The output is flushed before and behind a large one, so that equal files are cut into equal chunks wherever they are.
    pub(super) fn file(&mut self, name: &[u8], stat: &Statx, file: &File) -> Result<(), Failed> {
        let mut filled = self.fill(stat.stx_size, file).map_err(Failed::Reading)?;
        let size = if (filled as u64) < READ_BYTES as u64 { filled as u64 } else { stat.stx_size };
        self.header(header(stat, EntryType::Regular, size), name, b"", stat.stx_mtime).map_err(Failed::Writing)?;
        if size >= READ_BYTES as u64 {
            self.output.flush().map_err(Failed::Writing)?;
        }
        let mut left = size;
        while filled > 0 {
            self.output.write_all(&self.buffer[..filled]).map_err(Failed::Writing)?;
            left -= filled as u64;
            filled = self.fill(left, file).map_err(Failed::Reading)?;
        }
        if left > 0 {
            let message = "the file became shorter while it was read";
            return Err(Failed::Reading(io::Error::new(io::ErrorKind::UnexpectedEof, message)));
        }
        let padded = self.pad(size);
        let flushed = if size >= READ_BYTES as u64 { padded.and_then(|()| self.output.flush()) } else { padded };
        flushed.map_err(Failed::Writing)
    }

    /// Fills the buffer from the file, with at most so many bytes.
    fn fill(&mut self, limit: u64, mut file: &File) -> io::Result<usize> {
        let limit = READ_BYTES.min(usize::try_from(limit).unwrap_or(usize::MAX));
        let mut filled = 0;
        while filled < limit {
            match file.read(&mut self.buffer[filled..limit]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Writes the archive's end.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK_BYTES])?;
        Ok(self.output)
    }

    fn header(&mut self, mut header: Header, name: &[u8], link: &[u8], modified: StatxTimestamp) -> io::Result<()> {
        let fields = header.as_old_mut();
        let (fit_name, fit_link) = (put(&mut fields.name, name), put(&mut fields.linkname, link));
        header.set_cksum();
        let mut records = Vec::new();
        if modified.tv_nsec != 0 || modified.tv_sec < 0 {
            record(&mut records, "mtime", instant(modified).as_bytes());
        }
        if !fit_name {
            record(&mut records, "path", name);
        }
        if !fit_link {
            record(&mut records, "linkpath", link);
        }
        self.extended(&records)?;
        self.output.write_all(header.as_bytes())
    }

    /// Says of the next member what its own header cannot.
    fn extended(&mut self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let size = records.len() as u64;
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_size(size);
        put(&mut header.as_old_mut().name, EXTENDED_NAME);
        header.set_cksum();
        self.output.write_all(header.as_bytes())?;
        self.output.write_all(records)?;
        self.pad(size)
    }

    /// Fills the last block of content of this size.
    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = size.wrapping_neg() % BLOCK_BYTES as u64;
        self.output.write_all(&[0; BLOCK_BYTES][..padding as usize])
    }
}

/// Writes as much of a name into a field as there is room for, and says whether that is all.
fn put(field: &mut [u8; 100], name: &[u8]) -> bool {
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name[..length]);
    length == name.len()
}

/// Adds a record of an extended header, whose length counts itself.
fn record(records: &mut Vec<u8>, keyword: &str, value: &[u8]) {
    let rest = " =\n".len() + keyword.len() + value.len();
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {keyword}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Seconds since 1970 with a fraction.
fn instant(time: StatxTimestamp) -> String {
    match (time.tv_sec, time.tv_nsec) {
        (seconds, nanoseconds) if seconds < 0 && nanoseconds > 0 => {
            format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds)
        }
        (seconds, nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
    }
}

fn header(stat: &Statx, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(u32::from(stat.stx_mode) & 0o7777);
    header.set_uid(stat.stx_uid.into());
    header.set_gid(stat.stx_gid.into());
    header.set_size(size);
    // A time before 1970 is in the extended header.
    header.set_mtime(u64::try_from(stat.stx_mtime.tv_sec).unwrap_or(0));
    header
}

#[cfg(test)]
mod tests {
    use super::{super::extended::Extended, *};
    use crate::fs::look;

    #[test]
    fn records_count_themselves() {
        for (value, expected) in [("", "5 k=\n"), ("1234", "9 k=1234\n"), ("12345", "11 k=12345\n")] {
            let mut records = Vec::new();
            record(&mut records, "k", value.as_bytes());
            assert_eq!(String::from_utf8(records).unwrap(), expected);
        }
        let mut records = Vec::new();
        record(&mut records, "path", &[b'x'; 4_096]);
        assert_eq!(Extended::read(&records).unwrap().path.unwrap().len(), 4_096);
    }

    #[test]
    fn times_are_read_as_they_were_written() {
        for (tv_sec, tv_nsec) in [(0, 1), (1_600_000_000, 123_456_789), (-1, 0), (-1, 999_999_999), (-2, 750_000_000)] {
            let mut time = look(std::fs::File::open("/").unwrap(), c"").unwrap().stx_mtime;
            (time.tv_sec, time.tv_nsec) = (tv_sec, tv_nsec);
            let mut records = Vec::new();
            record(&mut records, "mtime", instant(time).as_bytes());
            let read = Extended::read(&records).unwrap().modified.unwrap();
            assert_eq!((read.tv_sec, read.tv_nsec), (tv_sec, tv_nsec.into()), "{}", instant(time));
        }
    }
}
