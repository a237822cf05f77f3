//! Copying: nothing is at the destination before all of it is.

mod content;
mod tree;

use std::{
    ffi::{CStr, CString},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use cabana_protocol::{
    Error,
    file::{Copied, Copy, FilePath},
};
use rustix::{
    fs::{
        AtFlags, FileType, Gid, OFlags, Statx, StatxTimestamp, Timespec, Timestamps, Uid, chownat, fchmod, fchown, futimens,
        readlinkat, unlinkat, utimensat,
    },
    io::{Errno, fcntl_dupfd_cloexec},
};
use tokio_util::sync::CancellationToken;

use super::{read::open, write::check_space};
use crate::fs::{
    Entry, Roots, Temporary, conflict, errno_error, file_type, io_error, look, permissions, remove_tree, rename_error,
    replace_with_symlink, without_privileges,
};

/// A block of `stx_blocks`, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

/// What of a file goes with its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// The permission bits.
    Permissions,
    /// All of its mode, its owner and its times.
    Attributes,
}

pub(super) fn copy(roots: &Roots, request: &Copy, cancel: &CancellationToken) -> Result<Copied, Error> {
    copy_keeping(roots, request, Keep::Permissions, cancel)
}

/// Moves what cannot be renamed, as mv(1) does: copies it, and removes it once the copy is in place. Hard links become files of their
/// own, and extended attributes do not go with it.
pub(super) fn move_by_copy(roots: &Roots, request: &Copy, cancel: &CancellationToken) -> Result<(), Error> {
    let Copy { from, .. } = request;
    copy_keeping(roots, request, Keep::Attributes, cancel)?;
    let entry = roots.target_to_change(from)?.entry()?;
    let removed = match unlinkat(&entry.parent, &entry.name, AtFlags::empty()) {
        Err(Errno::ISDIR) => remove_tree(&entry),
        result => result,
    };
    removed.map_err(|errno| errno_error(from, errno))
}

fn copy_keeping(roots: &Roots, request: &Copy, keep: Keep, cancel: &CancellationToken) -> Result<Copied, Error> {
    let Copy { from, to, recursive, .. } = request;
    let source = roots.target(from)?.open(OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = look(&source, c"").map_err(|errno| errno_error(from, errno))?;
    let entry = roots.target_to_change(to)?.entry()?;
    let kind = file_type(&stat);
    check(to, &entry, kind)?;
    match kind {
        FileType::RegularFile => file(roots, request, entry, &stat, keep, cancel),
        FileType::Symlink => symlink(roots, &source, entry, &stat, keep).map_err(|errno| errno_error(to, errno)),
        FileType::Directory if *recursive => {
            let source = roots.target(from)?.open(OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
            tree::copy(roots, request, source, &entry, keep, cancel)
        }
        FileType::Directory => Err(conflict(from, "is_a_directory", "is a directory; copy it with recursive")),
        _ => Err(conflict(from, "not_a_file", "not a regular file")),
    }
}

impl Keep {
    /// Gives the copy of a file or directory what it keeps.
    fn apply(self, copy: BorrowedFd<'_>, stat: &Statx) -> Result<(), Errno> {
        if self == Self::Permissions {
            return fchmod(copy, without_privileges(stat));
        }
        unless_not_permitted(fchown(copy, Some(Uid::from_raw(stat.stx_uid)), Some(Gid::from_raw(stat.stx_gid))))?;
        // A change of the owner takes set-user-ID away.
        fchmod(copy, permissions(u32::from(stat.stx_mode) & 0o7777))?;
        futimens(copy, &times(stat))
    }

    /// The same for a symlink of this name.
    fn apply_to_symlink(self, directory: &OwnedFd, name: &CStr, stat: &Statx) -> Result<(), Errno> {
        if self == Self::Permissions {
            return Ok(());
        }
        let (owner, group) = (Uid::from_raw(stat.stx_uid), Gid::from_raw(stat.stx_gid));
        unless_not_permitted(chownat(directory, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW))?;
        utimensat(directory, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// Who may not give files away owns the copy.
fn unless_not_permitted(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::PERM) => Ok(()),
        result => result,
    }
}

fn times(stat: &Statx) -> Timestamps {
    let time = |time: StatxTimestamp| Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec.into() };
    Timestamps { last_access: time(stat.stx_atime), last_modification: time(stat.stx_mtime) }
}

/// Whether something of this kind may take the place of what is there. The copy is tried anyway: this saves it where it is in vain.
fn check(to: &FilePath, entry: &Entry, kind: FileType) -> Result<(), Error> {
    let there = match look(&entry.parent, &entry.name) {
        Ok(stat) => Some(file_type(&stat)),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(errno_error(to, errno)),
    };
    match (kind, there) {
        (FileType::Directory, Some(_)) => Err(errno_error(to, Errno::EXIST)),
        (_, Some(FileType::Directory)) => Err(errno_error(to, Errno::ISDIR)),
        (FileType::Directory, None) => Ok(()),
        _ if entry.demands_directory() => Err(errno_error(to, Errno::NOTDIR)),
        _ => Ok(()),
    }
}

fn file(
    roots: &Roots,
    request: &Copy,
    entry: Entry,
    stat: &Statx,
    keep: Keep,
    cancel: &CancellationToken,
) -> Result<Copied, Error> {
    let Copy { from, to, .. } = request;
    check_space(to, &entry.parent, stat.stx_blocks.saturating_mul(BLOCK_BYTES))?;
    let source = open(roots, from)?;
    let directory = entry.parent.try_clone().map_err(|error| io_error(to, &error))?;
    let temporary = Temporary::new(directory).map_err(|errno| errno_error(to, errno))?;
    let size_bytes = content::copy(&source.file, temporary.file(), cancel).map_err(|error| io_error(to, &error))?;
    keep.apply(temporary.file().as_fd(), stat).map_err(|errno| errno_error(to, errno))?;
    let parent = fcntl_dupfd_cloexec(&entry.parent, 0).map_err(|errno| errno_error(to, errno))?;
    let _change = roots.lock_changes(&parent).map_err(|errno| errno_error(to, errno))?;
    temporary.persist(entry).map_err(|errno| rename_error(to, errno))?;
    Ok(Copied { entries: 1, size_bytes, skipped: 0 })
}

fn symlink(roots: &Roots, source: &OwnedFd, entry: Entry, stat: &Statx, keep: Keep) -> Result<Copied, Errno> {
    let target = readlinkat(source, c"", Vec::new())?;
    let (parent, name) = (fcntl_dupfd_cloexec(&entry.parent, 0)?, CString::new(entry.name.as_bytes()).map_err(|_| Errno::INVAL)?);
    let _change = roots.lock_changes(&parent)?;
    replace_with_symlink(target.as_bytes(), entry)?;
    keep.apply_to_symlink(&parent, &name, stat)?;
    Ok(Copied { entries: 1, size_bytes: 0, skipped: 0 })
}
