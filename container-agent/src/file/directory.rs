//! Making, removing and renaming.

use std::{ffi::CString, os::unix::ffi::OsStrExt};

use cabana_protocol::{Error, file::FilePath};
use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, mkdirat, renameat, unlinkat},
    io::Errno,
};

use super::{
    failure::failure,
    root::{Entry, Roots},
};

pub(super) fn make(roots: &Roots, path: &FilePath, parents: bool) -> Result<(), Error> {
    let target = roots.target(path)?;
    if parents {
        return target.make_directories().map(drop);
    }
    let entry = target.entry()?;
    mkdirat(&entry.parent, &entry.name, Mode::from_raw_mode(0o777)).map_err(|errno| failure(path, errno))
}

pub(super) fn remove(roots: &Roots, path: &FilePath, recursive: bool) -> Result<(), Error> {
    let entry = roots.target(path)?.entry()?;
    let removed = match unlinkat(&entry.parent, &entry.name, AtFlags::empty()) {
        Err(Errno::ISDIR) if recursive => remove_tree(entry),
        Err(Errno::ISDIR) => unlinkat(&entry.parent, &entry.name, AtFlags::REMOVEDIR),
        result => result,
    };
    removed.map_err(|errno| failure(path, errno))
}

/// Removes a directory with all it holds, from its leaves up. Each step opens one name without following symlinks, so a swap
/// on the way leads nowhere else; the stack is on the heap, whatever the depth.
fn remove_tree(top: Entry) -> Result<(), Errno> {
    let mut stack = vec![Level::enter(top)?];
    while let Some(level) = stack.last_mut() {
        let Some(name) = level.next()? else {
            let Entry { parent, name } = &level.entry;
            unlinkat(parent, name, AtFlags::REMOVEDIR)?;
            stack.pop();
            continue;
        };
        match unlinkat(level.children.fd()?, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => {
                let parent = rustix::io::fcntl_dupfd_cloexec(level.children.fd()?, 0)?;
                let name = std::ffi::OsStr::from_bytes(name.as_bytes()).to_owned();
                stack.push(Level::enter(Entry { parent, name })?);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A directory that is being emptied.
struct Level {
    entry: Entry,
    children: Dir,
}

impl Level {
    fn enter(entry: Entry) -> Result<Self, Errno> {
        let children = Dir::new(entry.open(OFlags::RDONLY | OFlags::DIRECTORY)?)?;
        Ok(Self { entry, children })
    }

    /// The next name in it, but for itself and its parent.
    fn next(&mut self) -> Result<Option<CString>, Errno> {
        for child in &mut self.children {
            let child = child?;
            if !matches!(child.file_name().to_bytes(), b"." | b"..") {
                return Ok(Some(child.file_name().to_owned()));
            }
        }
        Ok(None)
    }
}

pub(super) fn rename(roots: &Roots, from: &FilePath, to: &FilePath) -> Result<(), Error> {
    let source = roots.target(from)?.entry()?;
    let destination = roots.target(to)?.entry()?;
    renameat(&source.parent, &source.name, &destination.parent, &destination.name).map_err(|errno| match errno {
        Errno::NOENT => failure(from, errno),
        _ => failure(to, errno),
    })
}
