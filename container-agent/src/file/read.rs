//! `file.read`: content in JSON, whole or in part.

mod lines;
mod media_type;

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufReader},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::FileExt},
    },
    path::Path,
    time::SystemTime,
};

use bytes::Bytes;
use cabana_protocol::{
    Code, Data, Error,
    file::{Content, Encoded, Encoding, FilePath, Lines, MAX_CONTENT_BYTES, Read},
    names::{excluded_field, invalid_field},
};
use rustix::fs::{FileType, OFlags, Statx};
use tokio_util::sync::CancellationToken;

use super::cancel::Interruptible;
use crate::fs::{Roots, conflict, content_too_large, errno_error, etag, file_type, io_error, look, modified};
use media_type::media_type;
pub use media_type::{HEAD_BYTES, content_type};

/// How much of a file is read at once in search of lines.
const BUFFER_BYTES: usize = 64 << 10;

/// The content that was asked for, and where in the file it begins.
struct Part {
    content: Bytes,
    offset: u64,
    lines: Option<Lines>,
}

pub(super) fn read(roots: &Roots, request: &Read, cancel: &CancellationToken) -> Result<Content, Error> {
    let path = &request.path;
    let opened = open(roots, path)?;
    let Part { content, offset, lines } = match request.lines {
        Some(_) if request.offset.is_some() || request.length.is_some() => {
            return Err(excluded_field("lines", "cannot be combined with `offset` and `length`"));
        }
        Some(lines) => read_lines(path, &opened.file, lines, cancel)?,
        None => read_bytes(path, &opened, request.offset.unwrap_or(0), request.length.unwrap_or(u64::MAX))?,
    };
    let head = read_at(&opened.file, 0, opened.size_bytes.min(HEAD_BYTES as u64)).map_err(|error| io_error(path, &error))?;
    let media_type = media_type(Path::new(OsStr::from_bytes(path.as_bytes())), &head).to_owned();
    let content = encode(path, content, request.encoding)?;
    Ok(Content { content, offset, lines, size_bytes: opened.size_bytes, media_type, etag: opened.etag })
}

fn read_bytes(path: &FilePath, opened: &Opened, offset: u64, length: u64) -> Result<Part, Error> {
    let offset = offset.min(opened.size_bytes);
    let length = length.min(opened.size_bytes - offset);
    if length > MAX_CONTENT_BYTES {
        return Err(content_too_large("file.read", MAX_CONTENT_BYTES));
    }
    let content = read_at(&opened.file, offset, length).map_err(|error| io_error(path, &error))?;
    Ok(Part { content, offset, lines: None })
}

fn read_lines(path: &FilePath, file: &File, wanted: Lines, cancel: &CancellationToken) -> Result<Part, Error> {
    if wanted.from == 0 || wanted.to.is_some_and(|to| to < wanted.from) {
        return Err(invalid_field("lines", "`from` of at least 1, and `to` of at least `from`"));
    }
    let limit = usize::try_from(MAX_CONTENT_BYTES).map_err(|error| io_error(path, &io::Error::other(error)))?;
    let content = BufReader::with_capacity(BUFFER_BYTES, Interruptible::new(file, || cancel.is_cancelled()));
    let found = lines::find(content, wanted, limit).map_err(|error| io_error(path, &error))?;
    let found = found.ok_or_else(|| content_too_large("file.read", MAX_CONTENT_BYTES))?;
    Ok(Part { content: found.content.into(), offset: found.offset, lines: found.lines })
}

fn encode(path: &FilePath, content: Bytes, encoding: Option<Encoding>) -> Result<Encoded, Error> {
    match encoding {
        Some(Encoding::Base64) => Ok(Encoded::base64(&content)),
        Some(Encoding::Text) if std::str::from_utf8(&content).is_err() => {
            Err(Error::new(Code::Unprocessable, format!("{path}: content is not UTF-8; read it with encoding base64")))
        }
        _ => Ok(Encoded::Fitting(Data(content))),
    }
}

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
    let stat = look(file, c"").map_err(|errno| errno_error(path, errno))?;
    match file_type(&stat) {
        FileType::RegularFile => Ok(stat),
        FileType::Directory => Err(conflict(path, "is_a_directory", "is a directory")),
        _ => Err(conflict(path, "not_a_file", "not a regular file")),
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
