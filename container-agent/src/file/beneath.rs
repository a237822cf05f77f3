//! What is beneath an open directory, reached by its path from there without any symlink on the way.
//!
//! Work on a tree remembers paths and opens them anew, so that it holds few descriptors open whatever the depth. The kernel sees to it
//! that a path which was swapped meanwhile leads nowhere else.

use std::{
    ffi::{CStr, OsStr},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use cabana_protocol::file::FilePath;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

const CONFINED: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// An open directory that work starts from.
#[derive(Debug)]
pub(super) struct Base(OwnedFd);

impl Base {
    /// Work starts from this directory.
    pub(super) fn new(directory: OwnedFd) -> Self {
        Self(directory)
    }

    /// Opens what is at this path.
    pub(super) fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        open(&self.0, path, flags)
    }

    /// Opens the directory at this path for listing.
    pub(super) fn open_directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }
}

impl AsFd for Base {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens what is at this path beneath a directory; nothing at all means the directory itself.
pub(super) fn open(directory: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    openat2(directory, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), CONFINED)
}

/// Opens for reading, without waiting for a FIFO's writer, should it be one.
pub(super) fn open_file(directory: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    open(directory, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
}

/// The path of a name in the directory of this path.
pub(super) fn join(directory: &Path, name: &CStr) -> PathBuf {
    directory.join(OsStr::from_bytes(name.to_bytes()))
}

/// A path below one that was asked for, as the caller can use it: it continues the one that was asked for.
pub(super) fn below(asked: &FilePath, path: &Path) -> FilePath {
    let top = Path::new(OsStr::from_bytes(asked.as_bytes()));
    let whole = if path.as_os_str().is_empty() { top.to_owned() } else { top.strip_prefix(".").unwrap_or(top).join(path) };
    whole.into_os_string().into_vec().into()
}

/// Whether a name stands for the directory itself or for the one above.
pub(super) fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}
