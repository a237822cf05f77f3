//! Writing a tar archive, as GNU tar does: what is too long for a header precedes it.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use rustix::fs::Statx;
use tar::{EntryType, Header};

/// Archives consist of blocks of this size.
const BLOCK_BYTES: usize = 512;

/// Bytes of a file that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// What GNU tar calls a member that says what the next one's name is.
const LONG_NAME: &[u8] = b"././@LongLink";

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
        self.header(header(stat, EntryType::Directory, 0), &[name, b"/"].concat(), b"")
    }

    /// Adds a symlink.
    pub(super) fn symlink(&mut self, name: &[u8], stat: &Statx, to: &[u8]) -> io::Result<()> {
        self.header(header(stat, EntryType::Symlink, 0), name, to)
    }

    /// Adds a file.
    ///
    /// A file that changes meanwhile is stored as it is read, up to the size that it had. One that becomes shorter cannot be,
    /// unless it is read at once: its size is written already.
    pub(super) fn file(&mut self, name: &[u8], stat: &Statx, file: &File) -> Result<(), Failed> {
        let mut filled = self.fill(stat.stx_size, file).map_err(Failed::Reading)?;
        let size = if (filled as u64) < READ_BYTES as u64 { filled as u64 } else { stat.stx_size };
        self.header(header(stat, EntryType::Regular, size), name, b"").map_err(Failed::Writing)?;
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
        self.pad(size).map_err(Failed::Writing)
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

    fn header(&mut self, mut header: Header, name: &[u8], link: &[u8]) -> io::Result<()> {
        let fields = header.as_old_mut();
        let (fit_name, fit_link) = (put(&mut fields.name, name), put(&mut fields.linkname, link));
        header.set_cksum();
        if !fit_link {
            self.long(EntryType::GNULongLink, link)?;
        }
        if !fit_name {
            self.long(EntryType::GNULongName, name)?;
        }
        self.output.write_all(header.as_bytes())
    }

    /// Says what the next member's name or link is.
    fn long(&mut self, kind: EntryType, name: &[u8]) -> io::Result<()> {
        let size = name.len() as u64 + 1;
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        put(&mut header.as_old_mut().name, LONG_NAME);
        header.set_cksum();
        self.output.write_all(header.as_bytes())?;
        self.output.write_all(name)?;
        self.output.write_all(b"\0")?;
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

fn header(stat: &Statx, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(u32::from(stat.stx_mode) & 0o7777);
    header.set_uid(stat.stx_uid.into());
    header.set_gid(stat.stx_gid.into());
    header.set_size(size);
    // A time before 1970 is said in so many ways that few readers know them all.
    header.set_mtime(u64::try_from(stat.stx_mtime.tv_sec).unwrap_or(0));
    header
}
