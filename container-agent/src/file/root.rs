//! Paths, confined by the kernel: every one is opened relative to a root with openat2(2) and RESOLVE_BENEATH, so no `..`, symlink
//! or race leads outside. Operations on a name rather than on what it holds open the parent and use the name in it.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use cabana_protocol::{Code, Error, file::FilePath};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2},
    io::Errno,
};

use super::failure::failure;

const CONFINED: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// How often a resolution that a rename disturbed is tried again: with `..` on the path the kernel asks for it.
const ATTEMPTS: usize = 64;

/// The directories that file operations reach.
#[derive(Debug)]
pub struct Roots {
    paths: Vec<PathBuf>,
    /// Held from the check of a condition to the change that it guards, so that of two callers with one ETag one wins.
    change: Mutex<()>,
}

/// A path below a root.
#[derive(Debug)]
pub(super) struct Target<'a> {
    asked: &'a FilePath,
    root: OwnedFd,
    below: PathBuf,
}

/// A name in a directory below a root, or of it.
#[derive(Debug)]
pub(super) struct Entry {
    /// The directory.
    pub(super) parent: OwnedFd,
    /// The name in it.
    pub(super) name: OsString,
}

impl Roots {
    /// These directories, absolute, at least one; they are made when missing.
    pub(crate) fn new(roots: &[PathBuf]) -> io::Result<Self> {
        roots.iter().try_for_each(fs::create_dir_all)?;
        let paths = roots.iter().map(fs::canonicalize).collect::<io::Result<_>>()?;
        Ok(Self { paths, change: Mutex::new(()) })
    }

    /// Where relative paths begin.
    pub(crate) fn first(&self) -> &Path {
        &self.paths[0]
    }

    /// To be held while a file is checked and changed. The change is a system call or two.
    pub(super) fn change(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The root that holds this path. Nothing below the root is looked at yet.
    ///
    /// Fails with `invalid_request` (empty, too long, NUL) or `forbidden` (below no root).
    pub(super) fn target<'a>(&self, asked: &'a FilePath) -> Result<Target<'a>, Error> {
        let bytes = asked.as_bytes();
        if bytes.is_empty() || bytes.len() > FilePath::MAX_BYTES || bytes.contains(&0) {
            return Err(Error::invalid_request("a path has 1 to 4,096 bytes, none of them NUL"));
        }
        let path = self.first().join(Path::new(OsStr::from_bytes(bytes)));
        let under = self.paths.iter().find_map(|root| Some((root, path.strip_prefix(root).ok()?)));
        let (root, below) = under.ok_or_else(|| {
            let roots: Vec<_> = self.paths.iter().map(|root| root.display().to_string()).collect();
            let message = format!("{asked}: outside the sandbox's roots ({})", roots.join(", "));
            Error::new(Code::Forbidden, message).with_details(serde_json::json!({ "path": asked }))
        })?;
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let root = open_root(root).map_err(|errno| failure(asked, errno))?;
        Ok(Target { asked, root, below: below.to_owned() })
    }
}

/// A root is opened for each operation, so that one that was removed and made again is found again.
fn open_root(root: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, root, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

impl Target<'_> {
    /// Opens what is there.
    pub(super) fn open(&self, flags: OFlags) -> Result<OwnedFd, Error> {
        self.open_below(&self.below, flags).map_err(|errno| failure(self.asked, errno))
    }

    fn open_below(&self, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut attempts = 0;
        loop {
            match openat2(&self.root, below, flags | OFlags::CLOEXEC, Mode::empty(), CONFINED) {
                Err(Errno::AGAIN | Errno::INTR) if attempts < ATTEMPTS => attempts += 1,
                result => return result,
            }
        }
    }

    /// The name at the end of the path, in its directory. A symlink of that name is the link itself.
    ///
    /// Fails with `forbidden` for a root, `invalid_request` for a path that ends in `..`.
    pub(super) fn entry(&self) -> Result<Entry, Error> {
        let (parent, name) = self.split()?;
        let parent = self.open_below(parent, OFlags::PATH | OFlags::DIRECTORY).map_err(|errno| failure(self.asked, errno))?;
        Ok(Entry { parent, name: name.to_owned() })
    }

    /// The same, making the directories that are missing.
    pub(super) fn entry_with_parents(&self) -> Result<Entry, Error> {
        let (parent, name) = self.split()?;
        let parent = self.make_all(parent).map_err(|errno| failure(self.asked, errno))?;
        Ok(Entry { parent, name: name.to_owned() })
    }

    fn split(&self) -> Result<(&Path, &OsStr), Error> {
        match self.below.components().next_back() {
            Some(Component::Normal(name)) => Ok((beneath(self.below.parent()), name)),
            Some(Component::ParentDir) => {
                Err(Error::invalid_request(format!("{}: a path to change cannot end in ..", self.asked)))
            }
            _ => Err(Error::new(Code::Forbidden, format!("{}: a root of the sandbox stays as it is", self.asked))),
        }
    }

    /// Opens the directory, making it and its parents where they are missing.
    pub(super) fn make_directories(&self) -> Result<OwnedFd, Error> {
        self.make_all(&self.below).map_err(|errno| failure(self.asked, errno))
    }

    fn make_all(&self, directory: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open_below(directory, flags) {
            Err(Errno::NOENT) => {}
            result => return result,
        }
        let name = directory.file_name().ok_or(Errno::NOENT)?;
        let parent = self.make_all(beneath(directory.parent()))?;
        match mkdirat(&parent, name, Mode::from_raw_mode(0o777)) {
            // Somebody else was quicker, which is as good.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        self.open_below(directory, flags)
    }
}

fn beneath(path: Option<&Path>) -> &Path {
    path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Entry {
    /// Opens it, never through a symlink.
    pub(super) fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat(&self.parent, &self.name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    }
}
