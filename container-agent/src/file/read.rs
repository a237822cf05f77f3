//! `file.read`: content in JSON, whole or in part.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufReader},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use bytes::Bytes;
use cabana_protocol::{
    Code, Data, Error,
    file::{Content, Encoded, Encoding, FilePath, Lines, MAX_CONTENT_BYTES, Read},
};
use tokio_util::sync::CancellationToken;

use super::{
    cancel::Interruptible,
    content::{Opened, open, read_at},
    failure::{io_failure, too_large},
    lines,
    media_type::{HEAD_BYTES, media_type},
    root::Roots,
};

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
            return Err(Error::invalid_request("a range is either of bytes or of lines"));
        }
        Some(lines) => read_lines(path, &opened.file, lines, cancel)?,
        None => read_bytes(path, &opened, request.offset.unwrap_or(0), request.length.unwrap_or(u64::MAX))?,
    };
    let head = read_at(&opened.file, 0, opened.size_bytes.min(HEAD_BYTES as u64)).map_err(|error| io_failure(path, &error))?;
    let media_type = media_type(Path::new(OsStr::from_bytes(path.as_bytes())), &head).to_owned();
    let content = encode(path, content, request.encoding)?;
    Ok(Content { content, offset, lines, size_bytes: opened.size_bytes, media_type, etag: opened.etag })
}

fn read_bytes(path: &FilePath, opened: &Opened, offset: u64, length: u64) -> Result<Part, Error> {
    let offset = offset.min(opened.size_bytes);
    let length = length.min(opened.size_bytes - offset);
    if length > MAX_CONTENT_BYTES {
        return Err(too_large("file.read", MAX_CONTENT_BYTES));
    }
    let content = read_at(&opened.file, offset, length).map_err(|error| io_failure(path, &error))?;
    Ok(Part { content, offset, lines: None })
}

fn read_lines(path: &FilePath, file: &File, wanted: Lines, cancel: &CancellationToken) -> Result<Part, Error> {
    if wanted.from == 0 || wanted.to.is_some_and(|to| to < wanted.from) {
        return Err(Error::invalid_request("lines: the first line is 1, and the last not before the first"));
    }
    let limit = usize::try_from(MAX_CONTENT_BYTES).map_err(|error| io_failure(path, &io::Error::other(error)))?;
    let content = BufReader::with_capacity(BUFFER_BYTES, Interruptible::new(file, || cancel.is_cancelled()));
    let found = lines::find(content, wanted, limit).map_err(|error| io_failure(path, &error))?;
    let found = found.ok_or_else(|| too_large("file.read", MAX_CONTENT_BYTES))?;
    Ok(Part { content: found.content.into(), offset: found.offset, lines: found.lines })
}

fn encode(path: &FilePath, content: Bytes, encoding: Option<Encoding>) -> Result<Encoded, Error> {
    match encoding {
        Some(Encoding::Base64) => Ok(Encoded::base64(&content)),
        Some(Encoding::Text) if std::str::from_utf8(&content).is_err() => {
            Err(Error::new(Code::Unprocessable, format!("{path}: what was read is not UTF-8; base64 carries any bytes")))
        }
        _ => Ok(Encoded::Fitting(Data(content))),
    }
}
