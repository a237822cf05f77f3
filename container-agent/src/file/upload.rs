//! Writing content: whole or not at all.

use std::{ffi::CString, fs::File, io::Write as _, os::unix::ffi::OsStrExt};

use bytes::Bytes;
use cabana_protocol::{
    Code, Error,
    file::{FilePath, Mode, Write, Written},
};
use rustix::{
    fs::{AtFlags, FileType, OFlags, Statx, unlinkat},
    io::Errno,
};

use super::{
    failure::{failure, io_failure, wrong_kind},
    metadata::{etag, file_type, look},
    root::{Entry, Roots},
    temporary::Temporary,
};

/// What must be true of a file before it is changed.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// RFC 9110 If-Match: its ETag is this one, or for `*` it exists.
    pub if_match: Option<String>,
    /// RFC 9110 If-None-Match: its ETag is not this one, or for `*` it does not exist.
    pub if_none_match: Option<String>,
}

impl Conditions {
    /// Fails with `precondition_failed` unless they hold for a file with this ETag, or for no file.
    fn check(&self, path: &FilePath, etag: Option<&str>) -> Result<(), Error> {
        let matches = |list: &str| etag.is_some_and(|etag| list == "*" || list.split(',').any(|one| one.trim() == etag));
        let wanted = self.if_match.as_deref().is_none_or(matches);
        let unwanted = self.if_none_match.as_deref().is_some_and(matches);
        if wanted && !unwanted {
            return Ok(());
        }
        let details = serde_json::json!({ "path": path, "etag": etag });
        Err(Error::new(Code::PreconditionFailed, format!("{path}: not the version that was asked for")).with_details(details))
    }
}

/// A file that is being uploaded. Dropping it leaves everything as it was.
#[derive(Debug)]
pub struct Upload {
    path: FilePath,
    mode: Option<Mode>,
    conditions: Conditions,
    temporary: Temporary,
}

impl Upload {
    /// Begins. The conditions are checked now, so that nobody uploads in vain, and again when it is put in place.
    pub fn begin(roots: &Roots, path: FilePath, mode: Option<Mode>, conditions: Conditions) -> Result<Self, Error> {
        let entry = roots.target(&path)?;
        // Directories are made only for an upload that can begin.
        if conditions.if_match.is_some() {
            conditions.check(&path, present(&path, &entry.entry()?)?.as_ref().map(etag).as_deref())?;
        }
        let entry = entry.entry_with_parents()?;
        conditions.check(&path, present(&path, &entry)?.as_ref().map(etag).as_deref())?;
        let temporary = Temporary::new(entry).map_err(|error| io_failure(&path, &error))?;
        Ok(Self { path, mode, conditions, temporary })
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &Bytes) -> Result<(), Error> {
        self.temporary.file().write_all(bytes).map_err(|error| io_failure(&self.path, &error))
    }

    /// Puts it in place.
    pub fn finish(self, roots: &Roots) -> Result<Written, Error> {
        let Self { path, mode, conditions, temporary } = self;
        let _change = roots.change();
        let before = present(&path, temporary.entry())?;
        conditions.check(&path, before.as_ref().map(etag).as_deref())?;
        let kept = before.as_ref().map(|stat| u32::from(stat.stx_mode) & 0o7777);
        let mode = mode.map(Mode::bits).or(kept).unwrap_or(0o644);
        let file = temporary.place(mode).map_err(|errno| failure(&path, errno))?;
        written(&path, &file, before.is_none())
    }
}

pub(super) fn write(roots: &Roots, request: &Write) -> Result<Written, Error> {
    let conditions = Conditions { if_match: request.if_match.clone(), if_none_match: None };
    if request.append {
        return append(roots, request, &conditions);
    }
    let mut upload = Upload::begin(roots, request.path.clone(), request.mode, conditions)?;
    upload.write(&request.content.0)?;
    upload.finish(roots)
}

/// Adds to the end of a file, in place: what others append at the same time is not lost.
fn append(roots: &Roots, request: &Write, conditions: &Conditions) -> Result<Written, Error> {
    let path = &request.path;
    let entry = roots.target(path)?.entry_with_parents()?;
    let _change = roots.change();
    let before = present(path, &entry)?;
    conditions.check(path, before.as_ref().map(etag).as_deref())?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = request.mode.map_or(0o644, Mode::bits);
    let open = rustix::fs::openat(&entry.parent, &entry.name, flags, rustix::fs::Mode::from_raw_mode(mode));
    let mut file = File::from(open.map_err(|errno| failure(path, errno))?);
    file.write_all(&request.content.0).map_err(|error| io_failure(path, &error))?;
    written(path, &file, before.is_none())
}

pub(super) fn delete(roots: &Roots, path: &FilePath, conditions: &Conditions) -> Result<(), Error> {
    let entry = roots.target(path)?.entry()?;
    let _change = roots.change();
    let before = present(path, &entry)?;
    conditions.check(path, before.as_ref().map(etag).as_deref())?;
    unlinkat(&entry.parent, &entry.name, AtFlags::empty()).map_err(|errno| failure(path, errno))
}

/// The file that has this name, if any. A symlink is replaced, not followed; a directory or device is in the way.
fn present(path: &FilePath, entry: &Entry) -> Result<Option<Statx>, Error> {
    let name = CString::new(entry.name.as_bytes()).map_err(|_| Error::invalid_request("a path holds a NUL byte"))?;
    match look(&entry.parent, &name) {
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failure(path, errno)),
        Ok(stat) => match file_type(&stat) {
            FileType::RegularFile | FileType::Symlink => Ok(Some(stat)),
            FileType::Directory => Err(wrong_kind(path, "it is a directory")),
            _ => Err(wrong_kind(path, "not a regular file")),
        },
    }
}

fn written(path: &FilePath, file: &File, created: bool) -> Result<Written, Error> {
    let stat = look(file, c"").map_err(|errno| failure(path, errno))?;
    Ok(Written { created, size_bytes: stat.stx_size, etag: etag(&stat) })
}
