//! Walking a tree of any depth with few descriptors and little memory, and removing one.

use std::{
    ffi::{CString, OsStr, OsString},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
};

use rustix::{
    fs::{AtFlags, Dir as ReadDir, Mode, OFlags, openat, unlinkat},
    io::{Errno, fcntl_dupfd_cloexec},
};

use super::{
    Entry, is_dots,
    metadata::{Identity, identity},
};

/// How many directories of a stack are open at once: the deepest. A directory above them is found again by `..` when it is its turn.
const MAX_OPEN: usize = 32;

/// A directory of which the names are read one by one. It may be closed in the middle of that, and opened again from below.
pub(crate) struct OpenDir {
    identity: Identity,
    /// What it holds, while it is open.
    names: Option<ReadDir>,
    /// Where in it the next name is.
    next: i64,
    /// It was opened again, and its names begin anew.
    rewound: bool,
}

impl OpenDir {
    /// Opens a directory, never through a symlink; `None` where it is gone, or where something else has its name by now.
    pub(crate) fn open(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Self>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(parent, name, flags, Mode::empty()) {
            Ok(directory) => {
                let identity = identity(&directory)?;
                Ok(Some(Self { identity, names: Some(ReadDir::new(directory)?), next: 0, rewound: false }))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The directory, while it is open.
    pub(crate) fn fd(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.names.as_ref().ok_or(Errno::BADF)?.fd()
    }

    /// The next name in it, but for itself and its parent.
    pub(crate) fn next(&mut self) -> Result<Option<CString>, Errno> {
        for entry in self.names.iter_mut().flatten() {
            let entry = entry?;
            self.next = entry.offset();
            if !is_dots(entry.file_name()) {
                return Ok(Some(entry.file_name().to_owned()));
            }
        }
        Ok(None)
    }

    fn close(&mut self) {
        self.names = None;
    }

    /// Goes on after the last name that was read, as far as the file system remembers where that was, if its names began anew.
    pub(crate) fn resume(&mut self) -> Result<(), Errno> {
        match &mut self.names {
            Some(names) if std::mem::take(&mut self.rewound) => names.seek(self.next),
            _ => Ok(()),
        }
    }

    /// Opens it again, if it was closed, by way of a directory in it. Its names begin anew.
    ///
    /// Fails with `BUSY` where the directory below was moved elsewhere.
    fn reopen(&mut self, below: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.names.is_some() {
            return Ok(());
        }
        let directory = openat(below, c"..", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        if identity(&directory)? != self.identity {
            return Err(Errno::BUSY);
        }
        self.names = Some(ReadDir::new(directory)?);
        self.rewound = true;
        Ok(())
    }
}

/// The directories from the top of a tree to where a walk is, each with something to remember of it. The stack is on the heap, and few of
/// its directories are open, whatever the depth.
pub(crate) struct DirStack<T>(Vec<(OpenDir, T)>);

impl<T> DirStack<T> {
    /// A walk that begins in this directory, if it is there.
    pub(crate) fn new(top: Option<OpenDir>, value: T) -> Self {
        Self(top.map(|top| (top, value)).into_iter().collect())
    }

    /// The deepest directory.
    pub(crate) fn last_mut(&mut self) -> Option<(&mut OpenDir, &mut T)> {
        self.0.last_mut().map(|(directory, value)| (directory, value))
    }

    /// Goes down into a directory.
    pub(crate) fn push(&mut self, directory: OpenDir, value: T) {
        self.0.push((directory, value));
        if let Some(far) = self.0.len().checked_sub(MAX_OPEN + 1) {
            self.0[far].0.close();
        }
    }

    /// Goes back up out of the deepest directory. The names of the one above may begin anew ([`OpenDir::resume`]).
    ///
    /// Fails with `BUSY` where it was moved elsewhere meanwhile.
    pub(crate) fn pop(&mut self) -> Result<Option<T>, Errno> {
        let Some((done, value)) = self.0.pop() else { return Ok(None) };
        if let Some((above, _)) = self.0.last_mut() {
            above.reopen(done.fd()?)?;
        }
        Ok(Some(value))
    }
}

/// Removes a directory with all it holds, from its leaves up. Each step opens one name without following symlinks, and `..` counts only if
/// it is the directory that was left, so a swap on the way leads nowhere else. What something else removes meanwhile counts as removed.
pub(crate) fn remove_tree(top: &Entry) -> Result<(), Errno> {
    let mut stack = DirStack::new(OpenDir::open(top.parent.as_fd(), &top.name)?, top.name.clone());
    while let Some((directory, _)) = stack.last_mut() {
        if let Some(name) = directory.next()? {
            let name = OsStr::from_bytes(name.as_bytes());
            match unlinkat(directory.fd()?, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {
                    // Where something else has the name by now, the directory above stays, and its removal fails.
                    if let Some(below) = OpenDir::open(directory.fd()?, name)? {
                        stack.push(below, name.to_owned());
                    }
                }
                result => unless_gone(result)?,
            }
        } else if let Some(empty) = stack.pop()? {
            let parent = match stack.last_mut() {
                Some((above, _)) => above.fd()?,
                None => top.parent.as_fd(),
            };
            unless_gone(unlinkat(parent, &empty, AtFlags::REMOVEDIR))?;
        }
    }
    Ok(())
}

/// Removes all that a directory holds.
pub(crate) fn clear_directory(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let Some(mut names) = OpenDir::open(directory, OsStr::new("."))? else { return Ok(()) };
    while let Some(name) = names.next()? {
        match unlinkat(directory, &name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                remove_tree(&Entry::new(fcntl_dupfd_cloexec(directory, 0)?, OsString::from_vec(name.into_bytes())))?;
            }
            result => unless_gone(result)?,
        }
    }
    Ok(())
}

fn unless_gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use cabana_protocol::file::FilePath;

    use super::*;
    use crate::fs::Roots;

    fn open(parent: BorrowedFd<'_>, name: &str) -> OpenDir {
        OpenDir::open(parent, name.as_ref()).unwrap().unwrap()
    }

    #[test]
    fn a_directory_that_was_moved_away_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::create_dir(root.path().join("elsewhere")).unwrap();
        let mut above = open(fs::File::open(root.path()).unwrap().as_fd(), "a");
        let below = open(above.fd().unwrap(), "b");
        above.close();
        fs::rename(root.path().join("a/b"), root.path().join("elsewhere/b")).unwrap();
        assert_eq!(above.reopen(below.fd().unwrap()).unwrap_err(), Errno::BUSY);
    }

    #[test]
    fn a_directory_goes_on_where_it_was_closed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/below")).unwrap();
        (0..500).for_each(|number| drop(fs::File::create(root.path().join(format!("a/{number}"))).unwrap()));
        let mut directory = open(fs::File::open(root.path()).unwrap().as_fd(), "a");
        let below = open(directory.fd().unwrap(), "below");
        let mut names = Vec::new();
        while let Some(name) = directory.next().unwrap() {
            names.push(name);
            directory.close();
            directory.reopen(below.fd().unwrap()).unwrap();
            directory.resume().unwrap();
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 501);
    }

    #[test]
    fn a_tree_much_deeper_than_it_is_open_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().join("top");
        let deep: PathBuf = std::iter::repeat_n("d", MAX_OPEN * 3).collect();
        for level in top.join(&deep).ancestors().take(MAX_OPEN * 3 + 1) {
            fs::create_dir_all(level.join("side/empty")).unwrap();
            fs::write(level.join("file"), "").unwrap();
            std::os::unix::fs::symlink(root.path(), level.join("link")).unwrap();
        }
        fs::write(root.path().join("kept"), "").unwrap();
        let roots = Roots::at(root.path());
        let path = FilePath::from("top");
        remove_tree(&roots.target(&path).unwrap().entry().unwrap()).unwrap();
        assert!(!top.exists() && root.path().join("kept").exists());
    }
}
