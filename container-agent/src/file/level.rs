//! Walking a tree of any depth with few descriptors and little memory.

use std::{
    ffi::{CString, OsStr},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{Dir, Mode, OFlags, fstat, openat},
    io::Errno,
};

use super::beneath::is_dots;

/// How many levels of a tree are held open at once: the deepest. One above them is found again by `..` when it is its turn.
pub(super) const OPEN_LEVELS: usize = 32;

/// A directory of which the names are read one by one. It may be closed in the middle of that, and opened again from below.
pub(super) struct Level {
    /// Device and inode.
    identity: (u64, u64),
    /// What it holds, while it is open.
    names: Option<Dir>,
    /// Where in it the next name is.
    next: i64,
}

impl Level {
    /// Opens a directory, which is never a symlink's other end; none where it is gone, or where something else has its name by now.
    pub(super) fn open(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Self>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(parent, name, flags, Mode::empty()) {
            Ok(directory) => Ok(Some(Self { identity: identity(&directory)?, names: Some(Dir::new(directory)?), next: 0 })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The directory, while it is open.
    pub(super) fn fd(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.names.as_ref().ok_or(Errno::BADF)?.fd()
    }

    /// The next name in it, but for itself and its parent.
    pub(super) fn next(&mut self) -> Result<Option<CString>, Errno> {
        for entry in self.names.iter_mut().flatten() {
            let entry = entry?;
            self.next = entry.offset();
            if !is_dots(entry.file_name()) {
                return Ok(Some(entry.file_name().to_owned()));
            }
        }
        Ok(None)
    }

    /// Closes it for now.
    pub(super) fn close(&mut self) {
        self.names = None;
    }

    /// Makes sure that it is open, by way of a directory in it, and says whether it was closed: its names then begin anew.
    ///
    /// Fails with `BUSY` where the directory below was moved elsewhere.
    pub(super) fn reopen(&mut self, below: BorrowedFd<'_>) -> Result<bool, Errno> {
        if self.names.is_some() {
            return Ok(false);
        }
        let directory = openat(below, c"..", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        if identity(&directory)? != self.identity {
            return Err(Errno::BUSY);
        }
        self.names = Some(Dir::new(directory)?);
        Ok(true)
    }

    /// Goes on after the last name that was read, as far as the file system remembers where that was.
    pub(super) fn resume(&mut self) -> Result<(), Errno> {
        self.names.as_mut().map_or(Ok(()), |names| names.seek(self.next))
    }
}

fn identity(directory: impl AsFd) -> Result<(u64, u64), Errno> {
    let stat = fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Closes the level that has just become too many to be open.
pub(super) fn close_far<T>(levels: &mut [T], level: impl FnOnce(&mut T) -> &mut Level) {
    if let Some(far) = levels.len().checked_sub(OPEN_LEVELS + 1) {
        level(&mut levels[far]).close();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn open(parent: BorrowedFd<'_>, name: &str) -> Level {
        Level::open(parent, name.as_ref()).unwrap().unwrap()
    }

    #[test]
    fn a_level_that_was_moved_away_is_noticed() {
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
    fn a_level_goes_on_where_it_was_closed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/below")).unwrap();
        (0..500).for_each(|number| drop(fs::File::create(root.path().join(format!("a/{number}"))).unwrap()));
        let mut level = open(fs::File::open(root.path()).unwrap().as_fd(), "a");
        let below = open(level.fd().unwrap(), "below");
        let mut names = Vec::new();
        while let Some(name) = level.next().unwrap() {
            names.push(name);
            level.close();
            assert!(level.reopen(below.fd().unwrap()).unwrap());
            level.resume().unwrap();
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 501);
    }
}
