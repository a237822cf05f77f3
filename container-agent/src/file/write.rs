//! Writing content: whole or not at all.
//!
//! New content replaces the file, so a reader sees the old one or the new, and a program that has it open keeps the old. Owner, group
//! and permission bits stay as they were; other hard links, extended attributes, and set-user-ID and the like do not. Nothing is
//! flushed to the disk: the disk does not outlive the sandbox's kernel, but for snapshots, which see what is not yet flushed.

use std::{
    fs::File,
    io::{ErrorKind, Write as _},
    os::fd::AsFd,
};

use cabana_protocol::{
    Code, Error,
    file::{FilePath, Mode, Write, Written},
    names::excluded_field,
};
use rustix::{
    fs::{AtFlags, FallocateFlags, FileType, Gid, Statx, Uid, fallocate, fchmod, fchown, fstatvfs, unlinkat},
    io::Errno,
};
use serde_json::json;

use super::{conditions::Conditions, in_place};
use crate::fs::{
    ChangeLock, DeferredUnlink, Entry, Roots, Temporary, conflict, errno_error, etag, file_type, io_error, look, permissions,
    rename_error, without_privileges,
};

/// What an upload that tells its size leaves free on the disk, for commands to go on: this much, but at most 1 % of the disk.
const RESERVED_BYTES: u64 = 64 << 20;

/// From this size on, the room for an upload that tells its size is taken before it comes. Its blocks then lie together, and a rename
/// does not have to wait until the file system has found some (ext4 does that where one file replaces another).
const RESERVED_FROM_BYTES: u64 = 8 << 20;

/// The permission bits of a new file, unless others are asked for.
pub(super) const DEFAULT_MODE: u32 = 0o644;

/// A file that is being uploaded. Dropping it leaves everything as it was.
#[derive(Debug)]
pub struct Upload {
    path: FilePath,
    mode: Option<Mode>,
    conditions: Conditions,
    temporary: Temporary,
}

impl Upload {
    /// Begins. The conditions and, where the size is known, the space on the disk are checked now, so that nobody uploads in vain; the
    /// conditions again when it is put in place.
    pub fn begin(
        roots: &Roots,
        path: FilePath,
        mode: Option<Mode>,
        conditions: Conditions,
        size_bytes: Option<u64>,
    ) -> Result<Self, Error> {
        let (target, before) = roots.target_to_change(&path)?.follow()?;
        check(&path, before.as_ref(), &conditions)?;
        let directory = target.nearest_directory()?;
        if let Some(size_bytes) = size_bytes {
            let space = check_space(&path, &directory, size_bytes);
            // Room may be on its way.
            space.or_else(
                |error| if roots.pending_frees().wait() { check_space(&path, &directory, size_bytes) } else { Err(error) },
            )?;
        }
        let temporary = Temporary::new(directory).map_err(|errno| errno_error(&path, errno))?;
        if let Some(size_bytes) = size_bytes.filter(|size_bytes| *size_bytes >= RESERVED_FROM_BYTES) {
            reserve(temporary.file(), 0, size_bytes).map_err(|errno| errno_error(&path, errno))?;
        }
        Ok(Self { path, mode, conditions, temporary })
    }

    /// Begins without a look at what is there now, which something that is done before the commit may change.
    pub(super) fn stage(roots: &Roots, path: FilePath, mode: Option<Mode>, conditions: Conditions) -> Result<Self, Error> {
        let directory = roots.target_to_change(&path)?.nearest_directory()?;
        let temporary = Temporary::new(directory).map_err(|errno| errno_error(&path, errno))?;
        Ok(Self { path, mode, conditions, temporary })
    }

    /// Adds bytes.
    pub fn write(&mut self, roots: &Roots, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.temporary.file().write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Room may be on its way.
                Err(error) if error.kind() == ErrorKind::StorageFull && roots.pending_frees().wait() => {}
                Err(error) => return Err(io_error(&self.path, &error)),
            }
        }
        Ok(())
    }

    /// Puts it in place, in directories that are made where they are missing.
    pub fn commit(self, roots: &Roots) -> Result<Written, Error> {
        let path = self.path.clone();
        let change = lock(roots, &path)?;
        let (written, replaced) = self.commit_locked(roots, |_, _| Ok(()))?;
        drop(change);
        replaced.free(roots.pending_frees());
        Ok(written)
    }

    /// Puts it in place while changes are locked already. `keep` is shown what is there before it is replaced. What is replaced is to be
    /// freed after the lock.
    pub(super) fn commit_locked(
        self,
        roots: &Roots,
        keep: impl FnOnce(&Entry, Option<&Statx>) -> Result<(), Errno>,
    ) -> Result<(Written, DeferredUnlink), Error> {
        let Self { path, mode, conditions, temporary } = self;
        let (target, before) = roots.target_to_change(&path)?.follow()?;
        check(&path, before.as_ref(), &conditions)?;
        inherit(temporary.file(), before.as_ref(), mode).map_err(|errno| errno_error(&path, errno))?;
        let replaced = DeferredUnlink::hold(&target, before.as_ref());
        let entry = target.entry_with_parents()?;
        keep(&entry, before.as_ref()).map_err(|errno| errno_error(&path, errno))?;
        let file = temporary.persist(entry).map_err(|errno| rename_error(&path, errno))?;
        // The ETag is another one once the file has its name.
        Ok((written(&path, &file, before.is_none())?, replaced))
    }
}

/// Locks changes where content that is written to this path goes.
pub(super) fn lock<'a>(roots: &'a Roots, path: &FilePath) -> Result<ChangeLock<'a>, Error> {
    let directory = roots.target(path)?.follow()?.0.nearest_directory()?;
    roots.lock_changes(directory).map_err(|errno| errno_error(path, errno))
}

/// Gives new content the owner and permissions of what it replaces.
fn inherit(file: &File, before: Option<&Statx>, mode: Option<Mode>) -> Result<(), Errno> {
    if let Some(before) = before {
        match fchown(file, Some(Uid::from_raw(before.stx_uid)), Some(Gid::from_raw(before.stx_gid))) {
            // Who may not give files away owns what they write.
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    let asked = mode.map(|mode| permissions(mode.bits()));
    fchmod(file, asked.or(before.map(without_privileges)).unwrap_or(permissions(DEFAULT_MODE)))
}

/// Fails with `storage_full` when an upload would fill the disk. Only large content has a lane of its own to be refused on: what
/// `file.write` carries may use the reserve.
pub(crate) fn check_space(path: &FilePath, directory: impl AsFd, size_bytes: u64) -> Result<(), Error> {
    let disk = fstatvfs(directory).map_err(|errno| errno_error(path, errno))?;
    let total = disk.f_blocks.saturating_mul(disk.f_frsize);
    let free = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(RESERVED_BYTES.min(total / 100));
    // A file system of size 0 has no size to tell.
    if total == 0 || size_bytes <= free {
        return Ok(());
    }
    let message = format!("{path}: {size_bytes} bytes do not fit on the disk, which has room for {free}");
    Err(Error::new(Code::StorageFull, message).with_details(json!({ "path": path, "free_bytes": free })))
}

pub(super) fn write(roots: &Roots, request: &Write) -> Result<Written, Error> {
    let if_match = request.if_match.as_deref().map(str::parse).transpose()?;
    let conditions = Conditions { if_match, if_none_match: None };
    match request.offset {
        Some(_) if request.append => return Err(excluded_field("offset", "cannot be combined with `append`")),
        Some(offset) => return in_place::write_at(roots, request, offset, conditions),
        None if request.append => return in_place::append(roots, request, &conditions),
        None => {}
    }
    let mut upload = Upload::begin(roots, request.path.clone(), request.mode, conditions, None)?;
    upload.write(roots, &request.content.0)?;
    upload.commit(roots)
}

/// Takes room for what is to be written, so that a full disk is met before anything is.
pub(super) fn reserve(file: &File, offset: u64, length: u64) -> Result<(), Errno> {
    if length == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, offset, length) {
        // Not every file system can.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        result => result,
    }
}

/// Removes the file, or the symlink, of this name. The conditions speak of what a download gives, the other end of a symlink.
pub(super) fn delete(roots: &Roots, path: &FilePath, conditions: &Conditions) -> Result<(), Error> {
    let entry = roots.target_to_change(path)?.entry()?;
    let _change = roots.lock_changes(&entry.parent).map_err(|errno| errno_error(path, errno))?;
    if !conditions.is_empty() {
        check(path, roots.target(path)?.follow()?.1.as_ref(), conditions)?;
    }
    let present = look(&entry.parent, &entry.name).map_err(|errno| errno_error(path, errno))?;
    if file_type(&present) != FileType::Symlink {
        check(path, Some(&present), &Conditions::default())?;
    }
    unlinkat(&entry.parent, entry.name_as_asked(), AtFlags::empty()).map_err(|errno| errno_error(path, errno))
}

/// Whether content may take the place of what is there: nothing, or a regular file that meets the conditions.
pub(super) fn check(path: &FilePath, before: Option<&Statx>, conditions: &Conditions) -> Result<(), Error> {
    match before.map(file_type) {
        None | Some(FileType::RegularFile) => conditions.check(path, before.map(etag).as_deref()),
        Some(FileType::Directory) => Err(conflict(path, "is_a_directory", "is a directory")),
        Some(_) => Err(conflict(path, "not_a_file", "not a regular file")),
    }
}

pub(super) fn written(path: &FilePath, file: &File, created: bool) -> Result<Written, Error> {
    let stat = look(file, c"").map_err(|errno| errno_error(path, errno))?;
    Ok(Written { created, size_bytes: stat.stx_size, etag: etag(&stat) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_at_once() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots::at(root.path());
        let begin = |size_bytes| Upload::begin(&roots, "new/file".into(), None, Conditions::default(), size_bytes);
        assert_eq!(begin(Some(u64::MAX)).unwrap_err().code, Code::StorageFull);
        assert!(begin(Some(1)).is_ok() && begin(None).is_ok());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing was made");
    }
}
