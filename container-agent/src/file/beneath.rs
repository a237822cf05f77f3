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
use rustix::{fs::OFlags, io::Errno};

use super::confinement::{Confinement, Links};

/// An open directory that work starts from.
#[derive(Debug)]
pub(super) struct Base {
    directory: OwnedFd,
    confinement: Confinement,
}

impl Base {
    /// Work starts from this directory.
    pub(super) fn new(directory: OwnedFd, confinement: Confinement) -> Self {
        Self { directory, confinement }
    }

    /// Opens what is at this path; nothing at all means the directory itself.
    pub(super) fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        self.confinement.open(&self.directory, path, flags | OFlags::NOFOLLOW, Links::Refuse)
    }

    /// Opens the directory at this path for listing.
    pub(super) fn open_directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }
}

impl AsFd for Base {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Opens for reading what is at a short path beneath a directory, without waiting for a FIFO's writer, should it be one. For a name or
/// two, a walk costs no more than the kernel's way, and is always to be had.
pub(super) fn open_file(directory: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    Confinement::Walk.open(directory, path, flags, Links::Refuse)
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
