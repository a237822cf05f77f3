//! New content on its way to replacing a file: it grows without a name and gets one when it is whole, so that an agent that is
//! killed leaves nothing behind. Where the file system has no files without a name, it grows under a name of its own.

use std::{
    ffi::OsString,
    fs::File,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, renameat, unlinkat},
    io::Errno,
};

use super::target::Entry;

/// A file that nobody else knows yet; gone when it is dropped, unless it was put in place.
#[derive(Debug)]
pub(super) struct Temporary {
    file: File,
    name: Option<Name>,
}

/// A name that is taken away again when it is dropped, if something still has it.
#[derive(Debug)]
struct Name {
    directory: OwnedFd,
    name: OsString,
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
        let Entry { parent, name, .. } = entry;
        let temporary = match self.name {
            Some(name) => name,
            None => match link(&self.file, &parent, &name) {
                // A link replaces nothing, a rename does.
                Err(Errno::EXIST) => {
                    let temporary = Name::new(rustix::io::fcntl_dupfd_cloexec(&parent, 0)?)?;
                    link(&self.file, &temporary.directory, &temporary.name)?;
                    temporary
                }
                result => return result,
            },
        };
        renameat(&temporary.directory, &temporary.name, &parent, &name)
    }
}

/// Gives an open file without a name this one.
fn link(file: &File, directory: &OwnedFd, name: &OsString) -> Result<(), Errno> {
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, open, directory, name, AtFlags::SYMLINK_FOLLOW) {
        // Without /proc, only those whom the kernel trusts may name an open file.
        Err(Errno::NOENT) => linkat(file, c"", directory, name, AtFlags::EMPTY_PATH),
        result => result,
    }
}

impl Name {
    fn new(directory: OwnedFd) -> Result<Self, Errno> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
        Ok(Self { directory, name: format!(".cabana-{:016x}.tmp", u64::from_ne_bytes(random)).into() })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // After a rename there is nothing to remove, and nothing can be done about a file that cannot be removed.
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
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
        let roots = Roots::new(&[root.to_owned()]).unwrap();
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
