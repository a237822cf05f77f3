//! Files that are open for reading.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    time::SystemTime,
};

use bytes::Bytes;
use cabana_protocol::{Error, file::FilePath};
use rustix::fs::{FileType, OFlags, Statx};

use super::{
    failure::{failure, wrong_kind},
    metadata::{etag, file_type, look, modified},
    root::Roots,
};

/// A regular file, open for reading.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub file: File,
    /// Its size when it was opened.
    pub size_bytes: u64,
    /// Names the version that was opened.
    pub etag: String,
    /// When its content last changed.
    pub modified: SystemTime,
}

/// Opens a regular file for reading. Anything else is refused without being opened, which it might notice: a FIFO's writer would
/// take the agent for its reader.
pub fn open(roots: &Roots, path: &FilePath) -> Result<Opened, Error> {
    let target = roots.target(path)?;
    regular(path, &target.open(OFlags::PATH)?)?;
    // Should something else have its name by now, this does not wait for it.
    let file = target.open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let stat = regular(path, &file)?;
    Ok(Opened { file: file.into(), size_bytes: stat.stx_size, etag: etag(&stat), modified: modified(&stat) })
}

fn regular(path: &FilePath, file: &OwnedFd) -> Result<Statx, Error> {
    let stat = look(file, c"").map_err(|errno| failure(path, errno))?;
    match file_type(&stat) {
        FileType::RegularFile => Ok(stat),
        FileType::Directory => Err(wrong_kind(path, "it is a directory")),
        _ => Err(wrong_kind(path, "not a regular file")),
    }
}

/// Reads up to `length` bytes from here on; fewer only at the end of the file.
pub(super) fn read_at(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}
