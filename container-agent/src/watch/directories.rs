//! Which directory a watch stands for. The kernel names a directory by its watch, whatever becomes of its path; so a directory is
//! known by its parent and its name in it, and a rename changes one entry, not all below it.

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    os::fd::OwnedFd,
    path::PathBuf,
};

use cabana_protocol::{Error, file::FilePath};
use rustix::fs::{FileType, OFlags};

use crate::{
    Agent,
    fs::{Dir, Identity, errno_error, file_type, identity, look},
};

/// The kernel's number for a watch.
pub(super) type WatchId = i32;

/// The directories that are watched.
#[derive(Debug, Default)]
pub(super) struct Directories(HashMap<WatchId, Directory>);

#[derive(Debug)]
struct Directory {
    /// None for the topmost.
    place: Option<(WatchId, OsString)>,
    children: HashMap<OsString, WatchId>,
}

impl Directories {
    /// Adds a directory, or puts a known one into its present place; what else was known to be there is forgotten.
    pub(super) fn insert(&mut self, id: WatchId, place: Option<(WatchId, OsString)>) {
        self.detach(id);
        let children = self.0.remove(&id).map(|known| known.children).unwrap_or_default();
        if let Some((parent, name)) = &place
            && let Some(parent) = self.0.get_mut(parent)
        {
            parent.children.insert(name.clone(), id);
        }
        self.0.insert(id, Directory { place, children });
    }

    /// Takes it out of its parent.
    fn detach(&mut self, id: WatchId) {
        let place = self.0.get_mut(&id).and_then(|directory| directory.place.take());
        let Some((parent, name)) = place else { return };
        if let Some(parent) = self.0.get_mut(&parent)
            && parent.children.get(&name) == Some(&id)
        {
            parent.children.remove(&name);
        }
    }

    /// Forgets a directory and all below it; says which they were.
    pub(super) fn remove(&mut self, id: WatchId) -> Vec<WatchId> {
        self.detach(id);
        let mut removed = vec![id];
        let mut index = 0;
        while let Some(id) = removed.get(index) {
            removed.extend(self.0.remove(id).into_iter().flat_map(|directory| directory.children.into_values()));
            index += 1;
        }
        removed
    }

    /// Those that are not among these.
    pub(super) fn others(&self, kept: &HashSet<WatchId>) -> Vec<WatchId> {
        self.0.keys().copied().filter(|id| !kept.contains(id)).collect()
    }

    /// The directory of this name in that one.
    pub(super) fn child(&self, parent: WatchId, name: &OsStr) -> Option<WatchId> {
        self.0.get(&parent)?.children.get(name).copied()
    }

    /// Where this name in a directory is, below the topmost; none for a directory that is not known.
    pub(super) fn path(&self, mut id: WatchId, name: &OsStr) -> Option<PathBuf> {
        let mut names = vec![name];
        while let Some((parent, name)) = &self.0.get(&id)?.place {
            names.push(name);
            id = *parent;
        }
        Some(names.into_iter().rev().filter(|name| !name.is_empty()).collect())
    }

    pub(super) fn contains(&self, id: WatchId) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A directory that is watched, or whose file is.
#[derive(Debug)]
pub(super) struct WatchRoot {
    agent: Agent,
    path: FilePath,
    /// The watched file's name in the directory.
    pub(super) only: Option<OsString>,
    identity: Identity,
}

impl WatchRoot {
    /// What this path names.
    ///
    /// Fails with `not_found`, `forbidden`.
    pub(super) fn find(agent: Agent, path: FilePath) -> Result<Self, Error> {
        let (directory, only) = resolve(&agent, &path)?;
        let identity = identity(&directory).map_err(|errno| errno_error(&path, errno))?;
        Ok(Self { agent, path, only, identity })
    }

    /// Opens it; none when the path leads elsewhere by now.
    pub(super) fn open(&self) -> Option<Dir> {
        let (directory, only) = resolve(&self.agent, &self.path).ok()?;
        let same = only == self.only && identity(&directory) == Ok(self.identity);
        same.then(|| Dir::new(directory, self.agent.fs.roots().confinement()))
    }
}

fn resolve(agent: &Agent, path: &FilePath) -> Result<(OwnedFd, Option<OsString>), Error> {
    let target = agent.fs.roots().target(path)?;
    let found = target.open(OFlags::PATH)?;
    match file_type(&look(&found, c"").map_err(|errno| errno_error(path, errno))?) {
        FileType::Directory => Ok((found, None)),
        _ => target.follow()?.0.entry().map(|entry| (entry.parent, Some(entry.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 is the topmost; a (2) holds b (3), which holds c (4).
    fn directories() -> Directories {
        let mut directories = Directories::default();
        directories.insert(1, None);
        for (id, parent, name) in [(2, 1, "a"), (3, 2, "b"), (4, 3, "c")] {
            directories.insert(id, Some((parent, name.into())));
        }
        directories
    }

    #[test]
    fn a_rename_moves_all_below() {
        let mut directories = directories();
        assert_eq!(directories.path(4, "x".as_ref()), Some("a/b/c/x".into()));
        directories.insert(3, Some((1, "z".into())));
        assert_eq!(directories.path(4, "x".as_ref()), Some("z/c/x".into()));
        assert_eq!((directories.child(2, "b".as_ref()), directories.child(1, "z".as_ref())), (None, Some(3)));
        assert_eq!(directories.path(1, "".as_ref()), Some("".into()));
    }

    #[test]
    fn a_removal_takes_all_below() {
        let mut directories = directories();
        assert_eq!(directories.remove(3), [3, 4]);
        assert_eq!((directories.len(), directories.path(4, "x".as_ref())), (2, None));
        assert_eq!(directories.others(&HashSet::from([1])), [2]);
    }

    #[test]
    fn a_name_that_was_given_away_stays_with_who_has_it() {
        let mut directories = directories();
        directories.insert(5, Some((1, "a".into())));
        directories.remove(2);
        assert_eq!(directories.child(1, "a".as_ref()), Some(5));
    }
}
