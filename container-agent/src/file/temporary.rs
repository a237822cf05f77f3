//! New content on its way to replacing a file: it grows without a name and gets one when it is whole, so that an agent that is
//! killed leaves nothing behind. Where the file system has no files without a name, it grows under a name of its own.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, mkdirat, openat, renameat, symlinkat, unlinkat},
    io::{Errno, fcntl_dupfd_cloexec},
};

use super::{target::Entry, tree};

/// A file that nobody else knows yet; gone when it is dropped, unless it was put in place.
#[derive(Debug)]
pub(super) struct Temporary {
    file: File,
    name: Option<Name>,
}

/// A name that is taken away again when it is dropped, if something that is not a directory still has it.
#[derive(Debug)]
pub(super) struct Name {
    /// Where it is.
    pub(super) directory: OwnedFd,
    /// The name there.
    pub(super) name: OsString,
}

impl Temporary {
    /// Makes an empty file on the file system of this directory.
    pub(super) fn new(directory: OwnedFd) -> Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match openat(&directory, ".", flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => Ok(Self { file: file.into(), name: None }),
            // The file system knows only files with names; an old kernel takes the flag for a wish to write to the directory.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Self::named(directory),
            Err(errno) => Err(errno),
        }
    }

    fn named(directory: OwnedFd) -> Result<Self, Errno> {
        let name = Name::new(directory)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&name.directory, &name.name, flags, Mode::from_raw_mode(0o600))?;
        Ok(Self { file: file.into(), name: Some(name) })
    }

    /// The file, for writing.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Puts it in place of whatever has this name, in one step.
    pub(super) fn place(self, entry: Entry) -> Result<(), Errno> {
        match self.name {
            Some(temporary) => temporary.replace(&entry),
            None => link_in_place(&self.file, entry),
        }
    }
}

/// Gives an open file this name too, in place of whatever has it, in one step.
pub(super) fn link_in_place(file: impl AsFd, entry: Entry) -> Result<(), Errno> {
    in_place(entry, |directory, name| link(file.as_fd(), directory, name))
}

/// Makes a symlink in place of whatever has this name, in one step.
pub(super) fn symlink_in_place(to: &[u8], entry: Entry) -> Result<(), Errno> {
    in_place(entry, |directory, name| symlinkat(to, directory, name))
}

/// Makes something that replaces nothing under this name, or, where that is taken, under another that a rename then replaces it by.
fn in_place(entry: Entry, make: impl Fn(&OwnedFd, &OsStr) -> Result<(), Errno>) -> Result<(), Errno> {
    match make(&entry.parent, &entry.name) {
        Err(Errno::EXIST) => {
            let temporary = Name::new(fcntl_dupfd_cloexec(&entry.parent, 0)?)?;
            make(&temporary.directory, &temporary.name)?;
            temporary.replace(&entry)
        }
        result => result,
    }
}

/// Gives an open file without a name this one.
fn link(file: BorrowedFd<'_>, directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, open, directory, name, AtFlags::SYMLINK_FOLLOW) {
        // Without /proc, only those whom the kernel trusts may name an open file.
        Err(Errno::NOENT) => linkat(file, c"", directory, name, AtFlags::EMPTY_PATH),
        result => result,
    }
}

impl Name {
    /// One that nobody has.
    pub(super) fn new(directory: OwnedFd) -> Result<Self, Errno> {
        Ok(Self { directory, name: random_name()? })
    }

    /// Puts what has this name in place of whatever has the other.
    fn replace(&self, entry: &Entry) -> Result<(), Errno> {
        renameat(&self.directory, &self.name, &entry.parent, &entry.name)
    }
}

fn random_name() -> Result<OsString, Errno> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
    Ok(format!(".cabana-{:016x}.tmp", u64::from_ne_bytes(random)).into())
}

impl Drop for Name {
    fn drop(&mut self) {
        // After a rename there is mostly nothing to remove, and nothing can be done about a file that cannot be removed.
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

/// A directory that nobody else knows yet; gone with all it holds when it is dropped, unless it was put in place.
#[derive(Debug)]
pub(super) struct TemporaryDirectory(Option<Entry>);

impl TemporaryDirectory {
    /// Makes an empty one in this directory.
    pub(super) fn new(directory: &OwnedFd, mode: Mode) -> Result<Self, Errno> {
        let entry = Entry::new(fcntl_dupfd_cloexec(directory, 0)?, random_name()?);
        mkdirat(&entry.parent, &entry.name, mode)?;
        Ok(Self(Some(entry)))
    }

    /// Opens it.
    pub(super) fn open(&self) -> Result<OwnedFd, Errno> {
        self.0.as_ref().ok_or(Errno::BADF)?.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// Has it put in place by its directory and name there.
    pub(super) fn place(mut self, rename: impl FnOnce(&OwnedFd, &OsStr) -> Result<(), Errno>) -> Result<(), Errno> {
        if let Some(entry) = &self.0 {
            rename(&entry.parent, &entry.name)?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Some(entry) = &self.0 {
            // Nothing can be done about what cannot be removed.
            let _ = tree::remove(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, path::Path};

    use cabana_protocol::file::FilePath;

    use super::*;
    use crate::file::Roots;

    fn directory(path: &Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    fn place(temporary: Temporary, root: &Path, path: &str) {
        let roots = Roots::at(root);
        let path = FilePath::from(path);
        temporary.file().write_all(b"new").unwrap();
        let entry = roots.target(&path).unwrap().entry().unwrap();
        temporary.place(entry).unwrap();
    }

    fn names(path: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_appears_or_replaces_and_leaves_nothing_else() {
        for make in [Temporary::new, Temporary::named] {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join("old"), "old").unwrap();
            for name in ["old", "fresh"] {
                place(make(directory(root.path())).unwrap(), root.path(), name);
                assert_eq!(fs::read(root.path().join(name)).unwrap(), b"new");
            }
            drop(make(directory(root.path())).unwrap());
            assert_eq!(names(root.path()), ["fresh", "old"]);
        }
    }

    #[test]
    fn it_has_no_name_while_it_grows() {
        let root = tempfile::tempdir().unwrap();
        let temporary = Temporary::new(directory(root.path())).unwrap();
        temporary.file().write_all(b"new").unwrap();
        assert!(names(root.path()).is_empty());
    }
}
