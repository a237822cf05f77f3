//! Opening what is beneath a directory, and never what is not, whatever `..`, symlinks and races try.
//!
//! The kernel does it in one call, openat2(2) with RESOLVE_BENEATH. Profiles of seccomp that know nothing of that call refuse it; then
//! it is done by hand, one component at a time, and comes to the same.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::{
    ffi::{CStr, OsStr, OsString},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use cabana_protocol::{file::FilePath, system};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstat, fstatfs, openat, openat2, readlinkat},
    io::Errno,
};

use super::{file_type, look};

/// How many symlinks are followed: as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// The longest path that the kernel takes, with the NUL at its end.
const PATH_MAX: usize = 4_096;

/// The inode of procfs' topmost directory.
const PROC_ROOT: u64 = 1;

/// What sees to it that paths stay beneath their directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// openat2(2).
    Openat2,
    /// A walk from descriptor to descriptor, none of which was opened through a symlink. It holds a descriptor for each directory of the
    /// path while it goes on.
    Walk,
}

/// What is done about symlinks on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// They are followed as long as they lead beneath the directory; one at the end unless `O_NOFOLLOW` is given.
    Follow,
    /// They are refused with `ELOOP`.
    Refuse,
}

impl Confinement {
    /// What the kernel lets us use.
    pub(crate) fn detect() -> Self {
        match Self::Openat2.open_root(Path::new("/")) {
            Ok(_) => Self::Openat2,
            Err(_) => Self::Walk,
        }
    }

    /// Opens a directory by its absolute path, on which there are no symlinks.
    pub(crate) fn open_root(self, root: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(CWD, "/", flags, Mode::empty())?;
        let below = root.strip_prefix("/").map_err(|_| Errno::INVAL)?;
        self.open(top, if below.as_os_str().is_empty() { Path::new(".") } else { below }, flags, Links::Refuse)
    }

    /// Opens what is at this path beneath a directory.
    ///
    /// Fails with `EXDEV` where the path leads outside, `ELOOP` where a symlink is not followed; `EAGAIN` where a rename disturbed the
    /// kernel, which is to be asked again.
    pub(crate) fn open(self, directory: impl AsFd, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        if self == Self::Walk {
            return Walk::new(directory.as_fd(), path, links)?.open(flags);
        }
        let links = if links == Links::Refuse { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | links;
        openat2(directory, path, flags, Mode::empty(), resolve)
    }
}

impl FromStr for Confinement {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "openat2" => Ok(Self::Openat2),
            "walk" => Ok(Self::Walk),
            _ => Err("openat2 or walk"),
        }
    }
}

impl From<Confinement> for system::Confinement {
    fn from(confinement: Confinement) -> Self {
        match confinement {
            Confinement::Openat2 => Self::Openat2,
            Confinement::Walk => Self::Walk,
        }
    }
}

/// A path that is being walked.
struct Walk<'a> {
    top: BorrowedFd<'a>,
    /// The directories from below the top one to the one that is reached. `..` leads back to what was passed, wherever that is by now,
    /// and so never further up than the walk began.
    passed: Vec<OwnedFd>,
    /// The components that are left, the next one last.
    left: Vec<OsString>,
    links: Links,
    followed: usize,
}

impl<'a> Walk<'a> {
    fn new(top: BorrowedFd<'a>, path: &Path, links: Links) -> Result<Self, Errno> {
        if path.as_os_str().len() >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let mut walk = Self { top, passed: Vec::new(), left: Vec::new(), links, followed: 0 };
        walk.add(path.as_os_str())?;
        Ok(walk)
    }

    /// Goes this path before what is left.
    fn add(&mut self, path: &OsStr) -> Result<(), Errno> {
        let bytes = path.as_bytes();
        match bytes.first() {
            None => return Err(Errno::NOENT),
            Some(b'/') => return Err(Errno::XDEV),
            Some(_) => {}
        }
        if bytes.ends_with(b"/") {
            // A slash at the end asks for a directory, and follows a symlink to it.
            self.left.push(".".into());
        }
        let components = bytes.rsplit(|byte| *byte == b'/').filter(|component| !component.is_empty());
        self.left.extend(components.map(|component| OsStr::from_bytes(component).to_owned()));
        Ok(())
    }

    fn open(mut self, flags: OFlags) -> Result<OwnedFd, Errno> {
        loop {
            let name = self.left.pop().ok_or(Errno::NOENT)?;
            let last = self.left.is_empty();
            match name.as_bytes() {
                b"." => {}
                b".." => drop(self.passed.pop().ok_or(Errno::XDEV)?),
                _ if last => match self.last(&name, flags)? {
                    Some(opened) => return Ok(opened),
                    None => continue,
                },
                _ => self.pass(&name)?,
            }
            if last {
                return self.here(OsStr::new("."), flags);
            }
        }
    }

    /// The directory that is reached.
    fn reached(&self) -> BorrowedFd<'_> {
        self.passed.last().map_or(self.top, AsFd::as_fd)
    }

    /// Opens a name in it, and no symlink's other end.
    fn here(&self, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat(self.reached(), name, flags | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Finds what has this name in it.
    fn find(&self, name: &OsStr) -> Result<(OwnedFd, FileType), Errno> {
        let found = self.here(name, OFlags::PATH | OFlags::CLOEXEC)?;
        let kind = file_type(&look(&found, c"")?);
        Ok((found, kind))
    }

    /// Goes on to a directory of this name, or to where a symlink leads.
    fn pass(&mut self, name: &OsStr) -> Result<(), Errno> {
        match self.find(name)? {
            (link, FileType::Symlink) => self.follow(&link),
            (directory, FileType::Directory) => {
                if self.links == Links::Refuse && !self.left.iter().any(|left| left == "..") {
                    // Nothing leads back up: one descriptor does for whatever depth.
                    self.passed.clear();
                }
                self.passed.push(directory);
                Ok(())
            }
            _ => Err(Errno::NOTDIR),
        }
    }

    /// Opens what has the last name; none where that is a symlink, which is followed first.
    fn last(&mut self, name: &OsStr, flags: OFlags) -> Result<Option<OwnedFd>, Errno> {
        if flags.contains(OFlags::NOFOLLOW) {
            return self.here(name, flags).map(Some);
        }
        let (found, kind) = self.find(name)?;
        if kind == FileType::Symlink {
            return self.follow(&found).map(|()| None);
        }
        if flags.contains(OFlags::PATH) {
            let fits = kind == FileType::Directory || !flags.contains(OFlags::DIRECTORY);
            return if fits { Ok(Some(found)) } else { Err(Errno::NOTDIR) };
        }
        match self.here(name, flags) {
            // It has become a symlink since it was looked at.
            Err(Errno::LOOP) => {
                self.count()?;
                self.left.push(name.to_owned());
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }

    /// Goes on where an open symlink leads.
    fn follow(&mut self, link: &OwnedFd) -> Result<(), Errno> {
        self.count()?;
        if self.links == Links::Refuse || self.is_magic(link)? {
            return Err(Errno::LOOP);
        }
        let to = readlinkat(link, c"", Vec::new())?;
        self.add(OsStr::from_bytes(to.as_bytes()))
    }

    fn count(&mut self) -> Result<(), Errno> {
        self.followed += 1;
        if self.followed > MAX_LINKS { Err(Errno::LOOP) } else { Ok(()) }
    }

    /// Whether it is one of procfs' symlinks that lead not where they say, but to what a process has open. Only those in its topmost
    /// directory are plain ones.
    fn is_magic(&self, link: &OwnedFd) -> Result<bool, Errno> {
        Ok(fstatfs(link)?.f_type == PROC_SUPER_MAGIC && fstat(self.reached())?.st_ino != PROC_ROOT)
    }
}

/// An open directory that work starts from: what is beneath it is reached by its path from there, without any symlink on the way.
///
/// Work on a tree remembers paths and opens them anew, so that it holds few descriptors open whatever the depth. The kernel sees to it
/// that a path which was swapped meanwhile leads nowhere else.
#[derive(Debug)]
pub(crate) struct Dir {
    directory: OwnedFd,
    confinement: Confinement,
}

impl Dir {
    /// Work starts from this directory.
    pub(crate) fn new(directory: OwnedFd, confinement: Confinement) -> Self {
        Self { directory, confinement }
    }

    /// Opens what is at this path; nothing at all means the directory itself.
    pub(crate) fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        self.confinement.open(&self.directory, path, flags | OFlags::NOFOLLOW, Links::Refuse)
    }

    /// Opens the directory at this path for listing.
    pub(crate) fn open_directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Opens for reading what is at a short path beneath a directory, without waiting for a FIFO's writer, should it be one. For a name or
/// two, a walk costs no more than the kernel's way, and is always to be had.
pub(crate) fn open_file(directory: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    Confinement::Walk.open(directory, path, flags, Links::Refuse)
}

/// The path of a name in the directory of this path.
pub(crate) fn join(directory: &Path, name: &CStr) -> PathBuf {
    directory.join(OsStr::from_bytes(name.to_bytes()))
}

/// A path below one that was asked for, as the caller can use it: it continues the one that was asked for.
pub(crate) fn caller_path(asked: &FilePath, path: &Path) -> FilePath {
    let top = Path::new(OsStr::from_bytes(asked.as_bytes()));
    let whole = if path.as_os_str().is_empty() { top.to_owned() } else { top.strip_prefix(".").unwrap_or(top).join(path) };
    whole.into_os_string().into_vec().into()
}

/// Whether a name stands for the directory itself or for the one above.
pub(crate) fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}
