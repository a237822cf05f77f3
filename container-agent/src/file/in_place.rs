//! Writing into a file where it stands: at its end, or at an offset, so that an upload of any size goes in parts and resumes.
//!
//! A reader may see a part of what is written. What is refused changes nothing: conditions, the range and the room on the disk are checked
//! before the first byte.

use std::{fs::File, io::ErrorKind, os::unix::fs::FileExt};

use cabana_protocol::{
    Code, Error,
    file::{FilePath, Mode, Write, Written},
};
use rustix::{
    fs::{AtFlags, OFlags, Statx, fchmod, unlinkat},
    io::Errno,
    process::{Resource, getrlimit},
};
use serde_json::json;

use super::{
    conditions::Conditions,
    write::{DEFAULT_MODE, check, lock, reserve, written},
};
use crate::fs::{Claim, Entry, Roots, conflict, errno_error, identity, identity_of, io_error, look, permissions};

/// Where in a file a part belongs: RFC 9110, section 14.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartRange {
    /// The part's first byte.
    pub first: u64,
    /// The byte after its last one.
    pub end: u64,
    /// How long the file is to be in the end, if that is known. The part that reaches it cuts off what is behind.
    pub complete: Option<u64>,
}

/// A part of a file that is being uploaded. Dropping it leaves what has been written.
#[derive(Debug)]
pub struct PartUpload {
    path: FilePath,
    file: File,
    created: bool,
    claim: Claim,
    /// Where the next byte goes.
    at: u64,
    range: PartRange,
}

/// A file that is open for writing where it stands.
struct InPlace {
    file: File,
    before: Option<Statx>,
    entry: Entry,
}

impl InPlace {
    /// Opens it, creating it and its directories where they are missing. To be called while changes are locked.
    fn open(roots: &Roots, path: &FilePath, conditions: &Conditions, may_create: bool, flags: OFlags) -> Result<Self, Error> {
        let (target, before) = roots.target_to_change(path)?.follow()?;
        check(path, before.as_ref(), conditions)?;
        if before.is_none() && !may_create {
            return Err(errno_error(path, Errno::NOENT));
        }
        let entry = target.entry_with_parents()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | flags;
        let file = entry.open(flags, permissions(DEFAULT_MODE)).map_err(|errno| errno_error(path, errno))?;
        Ok(Self { file: file.into(), before, entry })
    }

    fn size(&self) -> u64 {
        self.before.as_ref().map_or(0, |stat| stat.stx_size)
    }

    /// Gives it these permission bits and takes room for what is to be written. A file that was created is removed if there is none.
    fn prepare(&self, path: &FilePath, mode: Option<Mode>, offset: u64, length: u64) -> Result<(), Error> {
        let end = offset.saturating_add(length);
        let mode = mode.map(Mode::bits).or(self.before.is_none().then_some(DEFAULT_MODE));
        let prepared = if getrlimit(Resource::Fsize).current.is_some_and(|limit| end > limit) {
            Err(Errno::FBIG)
        } else {
            reserve(&self.file, offset, length).and_then(|()| mode.map_or(Ok(()), |mode| fchmod(&self.file, permissions(mode))))
        };
        let is_empty = look(&self.file, c"").is_ok_and(|stat| stat.stx_size == 0);
        if prepared.is_err() && self.before.is_none() && is_empty {
            let _ = unlinkat(&self.entry.parent, &self.entry.name, AtFlags::empty());
        }
        prepared.map_err(|errno| errno_error(path, errno))
    }
}

/// Adds to the end of a file: what others append at the same time is not lost.
pub(super) fn append(roots: &Roots, request: &Write, conditions: &Conditions) -> Result<Written, Error> {
    let path = &request.path;
    let _change = lock(roots, path)?;
    let mut opened = InPlace::open(roots, path, conditions, true, OFlags::APPEND)?;
    opened.prepare(path, request.mode, opened.size(), request.content.0.len() as u64)?;
    std::io::Write::write_all(&mut opened.file, &request.content.0).map_err(|error| io_error(path, &error))?;
    written(path, &opened.file, opened.before.is_none())
}

/// Writes at an offset, and leaves what is behind.
pub(super) fn write_at(roots: &Roots, request: &Write, offset: u64, conditions: Conditions) -> Result<Written, Error> {
    let content = &request.content.0;
    let end = offset.checked_add(content.len() as u64).ok_or_else(|| errno_error(&request.path, Errno::FBIG))?;
    let range = PartRange { first: offset, end, complete: None };
    let mut upload = PartUpload::begin(roots, request.path.clone(), request.mode, &conditions, range)?;
    upload.write(roots, content)?;
    upload.commit(roots)
}

impl PartUpload {
    /// Begins. A part at the start creates the file; any other continues or replaces what is there. There is never a hole.
    ///
    /// Fails with `not_found`, `precondition_failed`, `range_not_satisfiable` (it begins behind the file's end), `storage_full`,
    /// `payload_too_large`, `conflict`; then nothing has changed.
    pub fn begin(
        roots: &Roots,
        path: FilePath,
        mode: Option<Mode>,
        conditions: &Conditions,
        range: PartRange,
    ) -> Result<Self, Error> {
        let _change = lock(roots, &path)?;
        let opened = InPlace::open(roots, &path, conditions, range.first == 0, OFlags::empty())?;
        let size_bytes = opened.size();
        if range.first > size_bytes {
            let message = format!("{path}: has {size_bytes} bytes; a part cannot begin at byte {}", range.first);
            let details = json!({ "path": path, "size_bytes": size_bytes });
            return Err(Error::new(Code::RangeNotSatisfiable, message).with_details(details));
        }
        opened.prepare(&path, mode, range.first, range.end - range.first)?;
        let identity = identity(&opened.file).map_err(|errno| errno_error(&path, errno))?;
        let claim = roots.claim(identity);
        Ok(Self { path, file: opened.file, created: opened.before.is_none(), claim, at: range.first, range })
    }

    /// Writes the next bytes.
    ///
    /// Fails with `invalid_request` for more than the range holds, `conflict` when another upload of a part has begun meanwhile.
    pub fn write(&mut self, roots: &Roots, mut bytes: &[u8]) -> Result<(), Error> {
        let _held = self
            .claim
            .hold()
            .ok_or_else(|| conflict(&self.path, "changing", "another upload of a part of this file has begun"))?;
        if bytes.len() as u64 > self.range.end - self.at {
            let length = self.range.end - self.range.first;
            return Err(Error::invalid_request(format!("{}: the body has more than the range's {length} bytes", self.path)));
        }
        while !bytes.is_empty() {
            match self.file.write_at(bytes, self.at) {
                Ok(count) => (bytes, self.at) = (&bytes[count..], self.at + count as u64),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Room may be on its way.
                Err(error) if error.kind() == ErrorKind::StorageFull && roots.pending_frees().wait() => {}
                Err(error) => return Err(io_error(&self.path, &error)),
            }
        }
        Ok(())
    }

    /// Ends the part. The last one of a file whose length is known cuts off what is behind.
    ///
    /// Fails with `invalid_request` for fewer bytes than the range holds, `conflict` for a file that was replaced meanwhile.
    pub fn commit(self, roots: &Roots) -> Result<Written, Error> {
        let Self { path, file, created, claim, at, range } = self;
        if at != range.end {
            return Err(Error::invalid_request(format!("{path}: the body ended before byte {}; continue there", at)));
        }
        // In the order in which a part begins.
        let _change = roots.lock_changes(&file).map_err(|errno| errno_error(&path, errno))?;
        let _held = claim.hold().ok_or_else(|| conflict(&path, "changing", "another upload of a part of this file has begun"))?;
        let now = roots.target(&path)?.follow()?.1;
        let ours = identity(&file).map_err(|errno| errno_error(&path, errno))?;
        if now.is_none_or(|stat| identity_of(&stat) != ours) {
            return Err(conflict(&path, "changing", "was replaced or removed while a part was written"));
        }
        if range.complete == Some(at) {
            file.set_len(at).map_err(|error| io_error(&path, &error))?;
        }
        written(&path, &file, created)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn range(first: u64, end: u64, complete: Option<u64>) -> PartRange {
        PartRange { first, end, complete }
    }

    fn put(roots: &Roots, range: PartRange, content: &[u8]) -> Result<Written, Code> {
        let put = || {
            let mut upload = PartUpload::begin(roots, "d/f".into(), None, &Conditions::default(), range)?;
            upload.write(roots, content)?;
            upload.commit(roots)
        };
        put().map_err(|error: Error| error.code)
    }

    #[test]
    fn parts_in_order_make_the_file() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots::at(root.path());
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("d/f"), "an older and longer file").unwrap();
        for (range, content, created) in
            [(range(0, 3, Some(8)), "one", false), (range(3, 6, Some(8)), "two", false), (range(6, 8, Some(8)), "83", false)]
        {
            assert_eq!(put(&roots, range, content.as_bytes()).map(|written| written.created), Ok(created));
        }
        assert_eq!(fs::read(root.path().join("d/f")).unwrap(), b"onetwo83");
    }

    #[test]
    fn a_refused_part_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots::at(root.path());
        assert_eq!(put(&roots, range(1, 2, None), b"x"), Err(Code::NotFound));
        assert!(!root.path().join("d").exists());
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("d/f"), "123").unwrap();
        assert_eq!(put(&roots, range(4, 5, None), b"x"), Err(Code::RangeNotSatisfiable));
        assert_eq!(put(&roots, range(1, 2, None), b"xy"), Err(Code::InvalidRequest));
        assert_eq!(fs::read(root.path().join("d/f")).unwrap(), b"123");
        assert_eq!(put(&roots, range(3, 5, None), b"4"), Err(Code::InvalidRequest), "shorter than the range");
        assert_eq!(fs::read(root.path().join("d/f")).unwrap(), b"1234", "what came is kept");
    }

    #[test]
    fn the_latest_of_two_writers_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots::at(root.path());
        let begin = || PartUpload::begin(&roots, "f".into(), None, &Conditions::default(), range(0, 4, None)).unwrap();
        let (mut first, mut second) = (begin(), begin());
        assert_eq!(first.write(&roots, b"1111").unwrap_err().code, Code::Conflict);
        second.write(&roots, b"2222").unwrap();
        drop(first);
        assert_eq!(second.commit(&roots).unwrap().size_bytes, 4);
        assert_eq!(fs::read(root.path().join("f")).unwrap(), b"2222");
        let mut third = begin();
        third.write(&roots, b"3333").unwrap();
        fs::remove_file(root.path().join("f")).unwrap();
        assert_eq!(third.commit(&roots).unwrap_err().code, Code::Conflict);
    }
}
