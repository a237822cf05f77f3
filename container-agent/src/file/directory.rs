//! Making, linking, removing and renaming.

use cabana_protocol::{
    Error,
    file::{FilePath, Symlink},
};
use rustix::{
    fs::{AtFlags, Mode, mkdirat, renameat, symlinkat, unlinkat},
    io::Errno,
};

use super::{
    failure::{failure, rename_failure, wrong_kind},
    root::Roots,
    tree,
};

pub(super) fn make(roots: &Roots, path: &FilePath, parents: bool) -> Result<(), Error> {
    let target = roots.target(path)?;
    if parents {
        return target.make_directories().map(drop);
    }
    let entry = target.entry()?;
    mkdirat(&entry.parent, &entry.name, Mode::from_raw_mode(0o777)).map_err(|errno| failure(path, errno))
}

pub(super) fn symlink(roots: &Roots, request: &Symlink) -> Result<(), Error> {
    let Symlink { path, target } = request;
    let target = target.as_bytes();
    if target.is_empty() || target.len() >= FilePath::MAX_BYTES || target.contains(&0) {
        return Err(Error::invalid_request("the target of a symlink has 1 to 4,095 bytes, none of them NUL"));
    }
    let entry = roots.target(path)?.entry()?;
    if entry.demands_directory() {
        return Err(Error::invalid_request(format!("{path}: the path of a symlink does not end in /")));
    }
    symlinkat(target, &entry.parent, &entry.name).map_err(|errno| failure(path, errno))
}

pub(super) fn remove(roots: &Roots, path: &FilePath, recursive: bool) -> Result<(), Error> {
    let entry = roots.target(path)?.entry()?;
    let unlinked = {
        let _change = roots.change();
        unlinkat(&entry.parent, entry.name_as_asked(), AtFlags::empty())
    };
    let removed = match unlinked {
        Err(Errno::ISDIR) if recursive => tree::remove(&entry),
        Err(Errno::ISDIR) => unlinkat(&entry.parent, &entry.name, AtFlags::REMOVEDIR),
        result => result,
    };
    removed.map_err(|errno| failure(path, errno))
}

pub(super) fn rename(roots: &Roots, from: &FilePath, to: &FilePath) -> Result<(), Error> {
    let source = roots.target(from)?.entry()?;
    let destination = roots.target(to)?.entry()?;
    let _change = roots.change();
    let renamed = renameat(&source.parent, source.name_as_asked(), &destination.parent, destination.name_as_asked());
    renamed.map_err(|errno| match errno {
        Errno::NOENT => failure(from, errno),
        Errno::INVAL => wrong_kind(to, "a directory cannot be moved into itself"),
        _ => rename_failure(to, errno),
    })
}
