//! `file.mkdir`, `file.symlink`, `file.remove`, `file.move` and `file.chmod`: what names mean, and who may use them.

use std::os::fd::AsRawFd;

use cabana_protocol::{
    Error,
    file::{Chmod, FilePath, Symlink},
    names::invalid_field,
};
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, chmodat, fchmod, mkdirat, renameat, renameat_with, symlinkat, unlinkat,
    },
    io::Errno,
};

use crate::fs::{Entry, Roots, conflict, errno_error, file_type, look, permissions, remove_tree};

pub(super) fn make_directory(roots: &Roots, path: &FilePath, parents: bool) -> Result<(), Error> {
    let target = roots.target_to_change(path)?;
    if parents {
        return target.make_directories().map(drop);
    }
    let entry = target.entry()?;
    mkdirat(&entry.parent, &entry.name, Mode::from_raw_mode(0o777)).map_err(|errno| errno_error(path, errno))
}

pub(super) fn symlink(roots: &Roots, request: &Symlink) -> Result<(), Error> {
    let Symlink { path, target, .. } = request;
    let target = target.as_bytes();
    if target.is_empty() || target.len() >= FilePath::MAX_BYTES || target.contains(&0) {
        return Err(invalid_field("target", "1 to 4,095 bytes, none of them NUL"));
    }
    let entry = roots.target_to_change(path)?.entry()?;
    if entry.demands_directory() {
        return Err(Error::invalid_request(format!("{path}: a symlink's path must not end in /")).because("invalid_name"));
    }
    symlinkat(target, &entry.parent, &entry.name).map_err(|errno| errno_error(path, errno))
}

pub(super) fn remove(roots: &Roots, path: &FilePath, recursive: bool) -> Result<(), Error> {
    let entry = roots.target_to_change(path)?.entry()?;
    let unlinked = {
        let _change = roots.lock_changes(&entry.parent).map_err(|errno| errno_error(path, errno))?;
        unlinkat(&entry.parent, entry.name_as_asked(), AtFlags::empty())
    };
    let removed = match unlinked {
        Err(Errno::ISDIR) if recursive => remove_tree(&entry),
        Err(Errno::ISDIR) => unlinkat(&entry.parent, &entry.name, AtFlags::REMOVEDIR),
        result => result,
    };
    removed.map_err(|errno| errno_error(path, errno))
}

/// Renames. False where the kernel cannot: between two file systems, and for a directory of the image that an overlay shows.
pub(super) fn rename(roots: &Roots, from: &FilePath, to: &FilePath) -> Result<bool, Error> {
    let source = roots.target_to_change(from)?.entry()?;
    let destination = roots.target_to_change(to)?.entry()?;
    let stat = look(&source.parent, &source.name).map_err(|errno| errno_error(from, errno))?;
    let _change = roots.lock_changes(&destination.parent).map_err(|errno| errno_error(to, errno))?;
    let renamed = if file_type(&stat) == FileType::Directory {
        rename_to_new(&source, &destination)
    } else {
        renameat(&source.parent, source.name_as_asked(), &destination.parent, destination.name_as_asked())
    };
    match renamed {
        Ok(()) => Ok(true),
        Err(Errno::XDEV) => Ok(false),
        Err(Errno::NOENT) => Err(errno_error(from, Errno::NOENT)),
        Err(Errno::INVAL) => Err(conflict(to, "into_itself", "a directory cannot be moved into itself")),
        Err(errno) => Err(errno_error(to, errno)),
    }
}

/// Renames a directory, which replaces nothing, not even an empty directory.
fn rename_to_new(source: &Entry, destination: &Entry) -> Result<(), Errno> {
    match renameat_with(&source.parent, &source.name, &destination.parent, &destination.name, RenameFlags::NOREPLACE) {
        // It is moved into itself, or the file system does not know the flag.
        Err(Errno::INVAL) => match look(&destination.parent, &destination.name) {
            Ok(_) => Err(Errno::EXIST),
            Err(_) => renameat(&source.parent, &source.name, &destination.parent, &destination.name),
        },
        result => result,
    }
}

pub(super) fn chmod(roots: &Roots, request: &Chmod) -> Result<(), Error> {
    let Chmod { path, mode, .. } = request;
    let mode = permissions(mode.bits());
    // To open a FIFO, or a file that may not be read, would be more than is needed.
    let found = roots.target_to_change(path)?.open(OFlags::PATH)?;
    let changed = match chmodat(CWD, format!("/proc/self/fd/{}", found.as_raw_fd()), mode, AtFlags::empty()) {
        // There is no /proc.
        Err(Errno::NOENT) => fchmod(roots.target(path)?.open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?, mode),
        result => result,
    };
    changed.map_err(|errno| errno_error(path, errno))
}
