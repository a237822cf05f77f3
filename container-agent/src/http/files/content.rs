//! A file's content on its way out.

use std::{
    borrow::Cow,
    ffi::OsStr,
    fs::File,
    io,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::Path,
    sync::Arc,
};

use axum::body::Bytes;
use bytes::BytesMut;
use cabana_protocol::file::FilePath;
use futures_util::{Stream, stream};

use super::SMALL_BYTES;
use crate::{
    buffers::Buffers,
    file::{self, Opened},
    threads,
};

/// Bytes read from a file at a time: enough to hide the way to the thread that reads, little enough to hold for every download.
const READ_BYTES: u64 = 256 << 10;

/// All of a small file, if it still is of the size that it was opened with. Blocks for as long as the disk takes.
pub(super) fn whole(opened: &Opened) -> Option<Bytes> {
    let size = usize::try_from(opened.size_bytes).ok().filter(|_| opened.size_bytes <= SMALL_BYTES)?;
    let mut content = vec![0; size];
    opened.file.read_exact_at(&mut content, 0).ok()?;
    Some(content.into())
}

/// What a file's first bytes and its name tell of it, for `Content-Type`. Blocks for as long as the disk takes.
pub(super) fn media_type(path: &FilePath, opened: &Opened, whole: Option<&Bytes>) -> Cow<'static, str> {
    let mut read = [0; file::HEAD_BYTES];
    let head = match whole {
        Some(whole) => &whole[..whole.len().min(file::HEAD_BYTES)],
        None => {
            let count = opened.file.read_at(&mut read, 0).unwrap_or(0);
            &read[..count]
        }
    };
    file::content_type(Path::new(OsStr::from_bytes(path.as_bytes())), head)
}

/// These bytes of it.
pub(super) fn part(whole: &Bytes, first: u64, length: u64) -> Option<Bytes> {
    let (first, last) = (usize::try_from(first).ok()?, usize::try_from(first.checked_add(length)?).ok()?);
    (last <= whole.len()).then(|| whole.slice(first..last))
}

/// Reads piece by piece, each when the one before is on its way. A file that has become shorter ends the connection early, so
/// that the client sees that something is missing.
pub(super) fn pieces(file: File, first: u64, length: u64) -> impl Stream<Item = io::Result<Bytes>> {
    let file = Arc::new(file);
    stream::unfold((first, first + length, Buffers::default()), move |(at, end, mut buffers)| {
        let file = Arc::clone(&file);
        async move {
            let want = READ_BYTES.min(end - at);
            if want == 0 {
                return None;
            }
            let want = usize::try_from(want).unwrap_or(usize::MAX);
            let mut buffer = buffers.take(want);
            buffer.resize(want, 0);
            let read = threads::run_next(move || read_some(&file, at, buffer)).await;
            let read = read.unwrap_or_else(|| Err(io::Error::other("the read panicked"))).map(|mut buffer| {
                let piece = buffer.split().freeze();
                buffers.keep(buffer);
                piece
            });
            let next = read.as_ref().map_or(end, |piece| at + piece.len() as u64);
            Some((read, (next, end, buffers)))
        }
    })
}

/// Fills as much of the buffer as one read gives, and cuts off the rest.
fn read_some(file: &File, at: u64, mut buffer: BytesMut) -> io::Result<BytesMut> {
    match file.read_at(&mut buffer, at)? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter")),
        count => {
            buffer.truncate(count);
            Ok(buffer)
        }
    }
}
