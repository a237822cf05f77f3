//! Removing a directory with all it holds, or all it holds.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
};

use rustix::{
    fs::{AtFlags, unlinkat},
    io::{Errno, fcntl_dupfd_cloexec},
};

use super::{
    level::{Level, close_far},
    target::Entry,
};

/// A directory that is being emptied.
struct Doomed {
    /// Its name in the directory above.
    name: OsString,
    level: Level,
}

/// Removes a directory from its leaves up. Each step opens one name without following symlinks, and `..` counts only if it is the
/// directory that was left, so a swap on the way leads nowhere else. The stack is on the heap, and few levels are open, whatever the
/// depth. What somebody else removes meanwhile is as good as removed.
pub(super) fn remove(top: &Entry) -> Result<(), Errno> {
    let mut doomed: Vec<_> = Doomed::open(top.parent.as_fd(), &top.name)?.into_iter().collect();
    while let Some(directory) = doomed.last_mut() {
        if let Some(name) = directory.level.next()? {
            let below = directory.clear(OsStr::from_bytes(name.as_bytes()))?;
            doomed.extend(below);
            close_far(&mut doomed, |directory| &mut directory.level);
        } else if let Some(empty) = doomed.pop() {
            let parent = match doomed.last_mut() {
                Some(above) => {
                    // Its names may begin anew: those that were read are removed.
                    above.level.reopen(empty.level.fd()?)?;
                    above.level.fd()?
                }
                None => top.parent.as_fd(),
            };
            unless_gone(unlinkat(parent, &empty.name, AtFlags::REMOVEDIR))?;
        }
    }
    Ok(())
}

/// Removes all that a directory holds.
pub(super) fn clear(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let Some(mut level) = Level::open(directory, OsStr::new("."))? else { return Ok(()) };
    while let Some(name) = level.next()? {
        match unlinkat(directory, &name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                remove(&Entry::new(fcntl_dupfd_cloexec(directory, 0)?, OsString::from_vec(name.into_bytes())))?;
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

impl Doomed {
    /// Opens a directory to empty it; none where it is gone, or where somebody else put something in its place, who will see the
    /// directory above stay.
    fn open(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Self>, Errno> {
        Ok(Level::open(parent, name)?.map(|level| Self { name: name.to_owned(), level }))
    }

    /// Removes what has this name in it. A directory is opened instead, to be emptied first.
    fn clear(&self, name: &OsStr) -> Result<Option<Self>, Errno> {
        match unlinkat(self.level.fd()?, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => Self::open(self.level.fd()?, name),
            result => unless_gone(result).map(|()| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use cabana_protocol::file::FilePath;

    use super::*;
    use crate::file::{Roots, level::OPEN_LEVELS};

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
        let roots = Roots::at(root.path());
        let path = FilePath::from("top");
        remove(&roots.target(&path).unwrap().entry().unwrap()).unwrap();
        assert!(!top.exists() && root.path().join("kept").exists());
    }
}
