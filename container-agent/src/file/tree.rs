//! Removing a directory with all it holds.

use std::{
    ffi::{CString, OsString},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStringExt,
    },
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, fstat, openat, unlinkat},
    io::Errno,
};

use super::{beneath::is_dots, target::Entry};

/// How many levels of a tree are held open at once: the deepest. One above them is found again by `..` when it is its turn.
const OPEN_LEVELS: usize = 32;

/// A directory that is being emptied.
struct Level {
    /// Its name in the level above.
    name: OsString,
    /// Device and inode.
    identity: (u64, u64),
    /// What it holds, while it is open.
    children: Option<Dir>,
}

/// Removes a directory from its leaves up. Each step opens one name without following symlinks, and `..` counts only if it is the
/// directory that was left, so a swap on the way leads nowhere else. The stack is on the heap, and few levels are open, whatever the
/// depth. What somebody else removes meanwhile is as good as removed.
pub(super) fn remove(top: &Entry) -> Result<(), Errno> {
    let mut levels: Vec<_> = Level::open(top.parent.as_fd(), top.name.clone())?.into_iter().collect();
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.next()? {
            let below = level.clear(name)?;
            levels.extend(below);
            if let Some(far) = levels.len().checked_sub(OPEN_LEVELS + 1) {
                levels[far].children = None;
            }
        } else if let Some(empty) = levels.pop() {
            let parent = match levels.last_mut() {
                Some(above) => above.reopen(empty.fd()?)?,
                None => top.parent.as_fd(),
            };
            unless_gone(unlinkat(parent, &empty.name, AtFlags::REMOVEDIR))?;
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

fn identity(directory: impl AsFd) -> Result<(u64, u64), Errno> {
    let stat = fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}

impl Level {
    /// Opens a directory to empty it; none where it is gone, or where somebody else put something in its place, who will see the
    /// directory above stay.
    fn open(parent: BorrowedFd<'_>, name: OsString) -> Result<Option<Self>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(parent, &name, flags, Mode::empty()) {
            Ok(directory) => Ok(Some(Self { name, identity: identity(&directory)?, children: Some(Dir::new(directory)?) })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn fd(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.children.as_ref().ok_or(Errno::BADF)?.fd()
    }

    /// The next name in it, but for itself and its parent.
    fn next(&mut self) -> Result<Option<CString>, Errno> {
        for child in self.children.iter_mut().flatten() {
            let child = child?;
            if !is_dots(child.file_name()) {
                return Ok(Some(child.file_name().to_owned()));
            }
        }
        Ok(None)
    }

    /// Removes a child. A directory is opened instead, to be emptied first.
    fn clear(&self, name: CString) -> Result<Option<Self>, Errno> {
        match unlinkat(self.fd()?, &name, AtFlags::empty()) {
            Err(Errno::ISDIR) => Self::open(self.fd()?, OsString::from_vec(name.into_bytes())),
            result => unless_gone(result).map(|()| None),
        }
    }

    /// Makes sure that it is open, by way of the level below. Its listing then starts anew, which is no loss: what it told of is
    /// removed.
    fn reopen(&mut self, below: BorrowedFd<'_>) -> Result<BorrowedFd<'_>, Errno> {
        if self.children.is_none() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = openat(below, "..", flags, Mode::empty())?;
            if identity(&directory)? != self.identity {
                // The level below was moved elsewhere.
                return Err(Errno::BUSY);
            }
            self.children = Some(Dir::new(directory)?);
        }
        self.fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use cabana_protocol::file::FilePath;

    use super::*;
    use crate::file::Roots;

    #[test]
    fn a_tree_much_deeper_than_it_is_open_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().join("top");
        let deep: PathBuf = std::iter::repeat_n("d", OPEN_LEVELS * 3).collect();
        for level in top.join(&deep).ancestors().take(OPEN_LEVELS * 3 + 1) {
            fs::create_dir_all(level.join("side/empty")).unwrap();
            fs::write(level.join("file"), "").unwrap();
            std::os::unix::fs::symlink(root.path(), level.join("link")).unwrap();
        }
        fs::write(root.path().join("kept"), "").unwrap();
        let roots = Roots::new(&[root.path().to_owned()]).unwrap();
        let path = FilePath::from("top");
        remove(&roots.target(&path).unwrap().entry().unwrap()).unwrap();
        assert!(!top.exists() && root.path().join("kept").exists());
    }

    #[test]
    fn a_level_that_was_moved_away_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::create_dir(root.path().join("elsewhere")).unwrap();
        let mut above = Level::open(fs::File::open(root.path()).unwrap().as_fd(), "a".into()).unwrap().unwrap();
        let below = above.clear(c"b".into()).unwrap().unwrap();
        above.children = None;
        fs::rename(root.path().join("a/b"), root.path().join("elsewhere/b")).unwrap();
        assert_eq!(above.reopen(below.fd().unwrap()).unwrap_err(), Errno::BUSY);
    }
}
