//! Copying: nothing is at the destination before all of it is.

mod content;
mod tree;

use std::os::fd::OwnedFd;

use cabana_protocol::{
    Error,
    file::{Copied, Copy, FilePath},
};
use rustix::{
    fs::{FileType, OFlags, Statx, fchmod, readlinkat, renameat, symlinkat},
    io::Errno,
};
use tokio_util::sync::CancellationToken;

use super::{
    content::open,
    failure::{failure, io_failure, rename_failure, wrong_kind},
    metadata::{file_type, look},
    permissions::without_privileges,
    root::Roots,
    target::Entry,
    temporary::{Name, Temporary},
    upload::check_space,
};

/// A block of `stx_blocks`, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

pub(super) fn copy(roots: &Roots, request: &Copy, cancel: &CancellationToken) -> Result<Copied, Error> {
    let Copy { from, to, recursive } = request;
    let source = roots.target(from)?.open(OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = look(&source, c"").map_err(|errno| failure(from, errno))?;
    let entry = roots.target(to)?.entry()?;
    let kind = file_type(&stat);
    check(to, &entry, kind)?;
    match kind {
        FileType::RegularFile => file(roots, request, entry, &stat, cancel),
        FileType::Symlink => symlink(roots, &source, &entry).map_err(|errno| failure(to, errno)),
        FileType::Directory if *recursive => {
            let source = roots.target(from)?.open(OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
            tree::copy(roots, request, source, &entry, cancel)
        }
        FileType::Directory => Err(wrong_kind(from, "it is a directory, which is copied only with recursive")),
        _ => Err(wrong_kind(from, "not a regular file")),
    }
}

/// Whether something of this kind may take the place of what is there. The copy is tried anyway: this saves it where it is in vain.
fn check(to: &FilePath, entry: &Entry, kind: FileType) -> Result<(), Error> {
    let there = match look(&entry.parent, &entry.name) {
        Ok(stat) => Some(file_type(&stat)),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(failure(to, errno)),
    };
    match (kind, there) {
        (FileType::Directory, Some(_)) => Err(failure(to, Errno::EXIST)),
        (_, Some(FileType::Directory)) => Err(failure(to, Errno::ISDIR)),
        (FileType::Directory, None) => Ok(()),
        _ if entry.demands_directory() => Err(failure(to, Errno::NOTDIR)),
        _ => Ok(()),
    }
}

fn file(roots: &Roots, request: &Copy, entry: Entry, stat: &Statx, cancel: &CancellationToken) -> Result<Copied, Error> {
    let Copy { from, to, .. } = request;
    check_space(to, &entry.parent, stat.stx_blocks.saturating_mul(BLOCK_BYTES))?;
    let source = open(roots, from)?;
    let directory = entry.parent.try_clone().map_err(|error| io_failure(to, &error))?;
    let temporary = Temporary::new(directory).map_err(|errno| failure(to, errno))?;
    let size_bytes = content::copy(&source.file, temporary.file(), cancel).map_err(|error| io_failure(to, &error))?;
    fchmod(temporary.file(), without_privileges(stat)).map_err(|errno| failure(to, errno))?;
    let _change = roots.change();
    temporary.place(entry).map_err(|errno| rename_failure(to, errno))?;
    Ok(Copied { entries: 1, size_bytes, skipped: 0 })
}

fn symlink(roots: &Roots, source: &OwnedFd, entry: &Entry) -> Result<Copied, Errno> {
    let target = readlinkat(source, c"", Vec::new())?;
    let temporary = Name::new(rustix::io::fcntl_dupfd_cloexec(&entry.parent, 0)?)?;
    symlinkat(&target, &temporary.directory, &temporary.name)?;
    let _change = roots.change();
    renameat(&temporary.directory, &temporary.name, &entry.parent, &entry.name)?;
    Ok(Copied { entries: 1, size_bytes: 0, skipped: 0 })
}
