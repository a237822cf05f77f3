//! A path below a root, and the ways to open it. Operations on a name rather than on what it holds open the parent and use the
//! name in it.

use std::{
    ffi::{OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use cabana_protocol::{Code, Error, file::FilePath};
use rustix::{
    fs::{FileType, Mode, OFlags, Statx, mkdirat, openat, readlinkat},
    io::Errno,
};

use super::{Confinement, Dir, errno_error, file_type, look, resolve::Links};

/// How often a resolution that a rename disturbed is tried again: with `..` on the path the kernel asks for it.
const ATTEMPTS: usize = 64;

/// How many symlinks a path may end in, one leading to the next: as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// A path below a root.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    asked: &'a FilePath,
    root: OwnedFd,
    confinement: Confinement,
    /// Relative to the root; a slash at its end demands a directory, as it does of the kernel.
    below: PathBuf,
}

/// A name in a directory below a root, or of it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The directory.
    pub(crate) parent: OwnedFd,
    /// The name in it.
    pub(crate) name: OsString,
    /// Whether only a directory will do.
    slash: bool,
}

impl<'a> Target<'a> {
    /// What was asked for, as a path below this root.
    pub(crate) fn new(asked: &'a FilePath, root: OwnedFd, confinement: Confinement, below: &Path) -> Self {
        let mut below = beneath(Some(below)).to_owned();
        // The standard library's paths know no slash at the end.
        if asked.as_bytes().ends_with(b"/") || asked.as_bytes().ends_with(b"/.") {
            below.push("");
        }
        Self { asked, root, confinement, below }
    }

    /// Opens what is there.
    pub(crate) fn open(&self, flags: OFlags) -> Result<OwnedFd, Error> {
        self.open_below(&self.below, flags).map_err(|errno| self.error(errno))
    }

    fn open_below(&self, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut attempts = 0;
        loop {
            match self.confinement.open(&self.root, below, flags, Links::Follow) {
                Err(Errno::AGAIN | Errno::INTR) if attempts < ATTEMPTS => attempts += 1,
                result => return result,
            }
        }
    }

    /// Opens a directory, to work in the tree below it.
    pub(crate) fn open_dir(&self) -> Result<Dir, Error> {
        let directory = self.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Dir::new(directory, self.confinement))
    }

    /// The root that it is below.
    pub(crate) fn into_root(self) -> Dir {
        Dir::new(self.root, self.confinement)
    }

    fn error(&self, errno: Errno) -> Error {
        errno_error(self.asked, errno)
    }

    /// The name at the end of the path, in its directory. A symlink of that name is the link itself.
    ///
    /// Fails with `forbidden` for a root, `invalid_request` for a path that ends in `..`.
    pub(crate) fn entry(&self) -> Result<Entry, Error> {
        let parent = self.open_below(self.split()?.0, OFlags::PATH | OFlags::DIRECTORY);
        self.entry_in(parent)
    }

    /// The same, making the directories that are missing.
    pub(crate) fn entry_with_parents(&self) -> Result<Entry, Error> {
        let parent = self.make_all(self.split()?.0);
        self.entry_in(parent)
    }

    fn entry_in(&self, parent: Result<OwnedFd, Errno>) -> Result<Entry, Error> {
        let name = self.split()?.1.to_owned();
        let parent = parent.map_err(|errno| self.error(errno))?;
        Ok(Entry { parent, name, slash: self.demands_directory() })
    }

    fn split(&self) -> Result<(&Path, &OsStr), Error> {
        match self.below.components().next_back() {
            Some(Component::Normal(name)) => Ok((beneath(self.below.parent()), name)),
            Some(Component::ParentDir) => {
                Err(Error::invalid_request(format!("{}: the path of what is to be changed must not end in ..", self.asked))
                    .because("invalid_name"))
            }
            _ => Err(Error::new(Code::Forbidden, format!("{}: is a root of the sandbox, which cannot be changed", self.asked))
                .because("root")),
        }
    }

    fn demands_directory(&self) -> bool {
        self.below.as_os_str().as_bytes().ends_with(b"/")
    }

    /// Where content that is written to this path goes, and what is there now: symlinks at its end are followed, as they are when
    /// it is read, even to a file that does not exist yet. Where one leads is a path to the kernel like any other.
    ///
    /// Fails with `forbidden` where a symlink leads outside, `invalid_request` for a path that only a directory can have.
    pub(crate) fn follow(mut self) -> Result<(Self, Option<Statx>), Error> {
        if self.demands_directory() {
            return Err(
                Error::invalid_request(format!("{}: a file's path must not end in /", self.asked)).because("invalid_name")
            );
        }
        self.split()?;
        for _ in 0..MAX_LINKS {
            let found = match self.open_below(&self.below, OFlags::PATH | OFlags::NOFOLLOW) {
                Err(Errno::NOENT) => return Ok((self, None)),
                found => found.map_err(|errno| self.error(errno))?,
            };
            let stat = look(&found, c"").map_err(|errno| self.error(errno))?;
            if file_type(&stat) != FileType::Symlink {
                return Ok((self, Some(stat)));
            }
            let link = readlinkat(&found, c"", Vec::new()).map_err(|errno| self.error(errno))?;
            self.below = beneath(self.below.parent()).join(OsStr::from_bytes(link.as_bytes()));
            if self.demands_directory() {
                return Err(self.error(Errno::ISDIR));
            }
        }
        Err(self.error(Errno::LOOP))
    }

    /// Opens the directory that is to hold it or, while that is missing or a file, the closest one above it.
    pub(crate) fn nearest_directory(&self) -> Result<OwnedFd, Error> {
        let mut directory = self.split()?.0;
        loop {
            match self.open_below(directory, OFlags::PATH | OFlags::DIRECTORY) {
                Err(Errno::NOENT | Errno::NOTDIR) if directory.file_name().is_some() => directory = beneath(directory.parent()),
                result => return result.map_err(|errno| self.error(errno)),
            }
        }
    }

    /// Opens the last directory on the path that exists, and gives the rest, in which there is no `..`.
    pub(crate) fn nearest(&self) -> Result<(OwnedFd, PathBuf), Error> {
        let mut directory = self.below.as_path();
        loop {
            match self.open_below(directory, OFlags::PATH | OFlags::DIRECTORY) {
                Err(Errno::NOENT) if directory.file_name().is_some() => directory = beneath(directory.parent()),
                Err(errno) => return Err(self.error(errno)),
                Ok(opened) => return Ok((opened, self.below.strip_prefix(directory).unwrap_or(&self.below).to_owned())),
            }
        }
    }

    /// Opens the directory, making it and its parents where they are missing.
    pub(crate) fn make_directories(&self) -> Result<OwnedFd, Error> {
        self.make_all(&self.below).map_err(|errno| self.error(errno))
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
    /// This name in this directory.
    pub(crate) fn new(parent: OwnedFd, name: OsString) -> Self {
        Self { parent, name, slash: false }
    }

    /// Whether it was asked for with a slash at its end.
    pub(crate) fn demands_directory(&self) -> bool {
        self.slash
    }

    /// Opens it, never through a symlink.
    pub(crate) fn open(&self, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        openat(&self.parent, &self.name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)
    }

    /// The name with the slash that it was asked for with: removing and renaming so insist on a directory. Other calls would follow
    /// a symlink on account of it.
    pub(crate) fn name_as_asked(&self) -> OsString {
        let mut name = self.name.clone();
        if self.slash {
            name.push("/");
        }
        name
    }
}
