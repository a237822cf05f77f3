//! Placing watches: on a directory and all below it.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

use cabana_protocol::{Code, Error};
use rustix::{
    fs::{
        Dir as ReadDir, FileType,
        inotify::{WatchFlags, add_watch},
    },
    io::Errno,
};

use super::{
    super::{batch::Batch, directories::WatchId},
    Watcher,
};
use crate::{
    fs::{Dir, file_type, look},
    limits,
};

/// What a watched directory takes, here and in the kernel.
const DIRECTORY_BYTES: usize = 1 << 10;

/// What the kernel tells of a directory and of what it holds.
const TOLD: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);

impl Watcher {
    /// Watches a directory, the topmost one for `None`, and those below it, and gathers which they are. Tells of what they hold, if
    /// there is a batch to tell. None is there to be watched where it is gone, not a directory any more, or not readable.
    pub(super) fn watch_tree(
        &mut self,
        place: Option<(WatchId, OsString)>,
        mut batch: Option<&mut Batch>,
        covered: &mut HashSet<WatchId>,
    ) -> Result<Option<WatchId>, Error> {
        let Some(top) = self.top.open() else {
            self.lost = true;
            return Ok(None);
        };
        let (mut first, mut left) = (None, vec![place]);
        while let Some(place) = left.pop() {
            let Some((id, directory)) = self.watch(&top, place)? else { continue };
            first = first.or(Some(id));
            if !covered.insert(id) || self.top.only.is_some() {
                continue;
            }
            for (name, directory) in names(directory) {
                let path = self.directories.path(id, &name).filter(|path| !self.patterns.excludes(path));
                let Some(path) = path else { continue };
                if let Some(batch) = batch.as_deref_mut() {
                    self.told.insert((id, name.clone()));
                    if self.patterns.reports(&path) {
                        batch.created(path, directory);
                    }
                }
                if directory && self.recursive {
                    left.push(Some((id, name)));
                }
            }
        }
        Ok(first)
    }

    /// Watches one directory, if it is there to be watched; gives its descriptor.
    fn watch(&mut self, top: &Dir, place: Option<(WatchId, OsString)>) -> Result<Option<(WatchId, OwnedFd)>, Error> {
        let path = match &place {
            None => Some(PathBuf::from(".")),
            Some((parent, name)) => self.directories.path(*parent, name),
        };
        let Some(directory) = path.and_then(|path| top.open_directory(&path).ok()) else { return Ok(None) };
        let id = match add_watch(self.inotify.get_ref(), format!("/proc/self/fd/{}", directory.as_raw_fd()), TOLD) {
            Ok(id) => id,
            Err(Errno::NOSPC) => {
                let message = "the kernel allows no more watched directories (fs.inotify.max_user_watches)";
                return Err(Error::new(Code::TooManyRequests, message));
            }
            Err(_) => return Ok(None),
        };
        if !self.directories.contains(id) && self.directories.len() >= self.limit {
            return Err(limits::reached(self.limit, "directories are the most that one watch covers; exclude some of them"));
        }
        self.directories.insert(id, place);
        self.held.resize(self.directories.len() * DIRECTORY_BYTES)?;
        Ok(Some((id, directory)))
    }
}

/// What a directory holds, as far as it can be read, and what of it are directories.
fn names(directory: OwnedFd) -> Vec<(OsString, bool)> {
    let Ok(mut entries) = ReadDir::new(directory) else { return Vec::new() };
    let mut names = Vec::new();
    while let Some(Ok(entry)) = entries.next() {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => entries.fd().and_then(|fd| look(fd, entry.file_name())).map(|stat| file_type(&stat)),
            kind => Ok(kind),
        };
        names.push((name.to_owned(), kind == Ok(FileType::Directory)));
    }
    names
}
