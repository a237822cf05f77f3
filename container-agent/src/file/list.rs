//! Listing directories, sorted and page by page.

use std::{
    ffi::{CString, OsStr, OsString},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use cabana_protocol::{
    Error,
    file::{DEFAULT_LIST_LIMIT, FilePath, Kind, List, Listing, MAX_LIST_LIMIT, Metadata},
};
use rustix::{
    fs::{Dir, Mode, OFlags, openat},
    io::Errno,
};

use super::{failure::failure, metadata::describe_name, root::Roots};

/// The largest `depth`.
const MAX_DEPTH: u32 = 64;

/// A page that is being filled, directory by directory, in the order of the paths' components.
struct Page {
    after: Option<PathBuf>,
    hidden: bool,
    limit: usize,
    entries: Vec<Metadata>,
    /// There is more than fits.
    more: bool,
}

pub(super) fn list(roots: &Roots, request: &List) -> Result<Listing, Error> {
    let depth = request.depth.unwrap_or(1);
    let limit = request.limit.unwrap_or(DEFAULT_LIST_LIMIT);
    if !(1..=MAX_DEPTH).contains(&depth) || !(1..=MAX_LIST_LIMIT).contains(&limit) {
        return Err(Error::invalid_request(format!("depth is 1 to {MAX_DEPTH}, limit 1 to {MAX_LIST_LIMIT}")));
    }
    let directory = roots.target(&request.path)?.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut page = Page {
        after: request.cursor.as_ref().map(|cursor| PathBuf::from(OsStr::from_bytes(cursor.as_bytes()))),
        hidden: request.hidden.unwrap_or(true),
        limit: limit as usize,
        entries: Vec::new(),
        more: false,
    };
    page.fill(directory, Path::new(""), depth).map_err(|errno| failure(&request.path, errno))?;
    let cursor = page.entries.last().filter(|_| page.more).map(|entry| entry.path.clone());
    Ok(Listing { entries: page.entries, cursor })
}

impl Page {
    /// Adds what is in this directory, which is listed as `path`, and below.
    fn fill(&mut self, directory: OwnedFd, path: &Path, depth: u32) -> Result<(), Errno> {
        let mut directory = Dir::new(directory)?;
        for name in self.names(&mut directory, path)? {
            let path = path.join(OsStr::from_bytes(name.as_bytes()));
            // A directory before the cursor may still hold entries after it.
            let listed = self.after.as_ref().is_none_or(|after| path > *after);
            if listed && self.entries.len() == self.limit {
                self.more = true;
                return Ok(());
            }
            let entry = match describe_name(directory.fd()?, &name, file_path(&path)) {
                Ok(entry) => entry,
                // Removed while it was being listed.
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            };
            let descend = entry.kind == Kind::Directory && depth > 1;
            if listed {
                self.entries.push(entry);
            }
            if descend {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match openat(directory.fd()?, &name, flags, Mode::empty()) {
                    Ok(below) => self.fill(below, &path, depth - 1)?,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => {}
                    Err(errno) => return Err(errno),
                }
            }
            if self.more {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The names in this directory that this page or a later one shows, sorted.
    fn names(&self, directory: &mut Dir, path: &Path) -> Result<Vec<CString>, Errno> {
        let mut names = Vec::new();
        for entry in directory {
            let entry = entry?;
            let name = entry.file_name();
            let shown = match name.to_bytes() {
                b"." | b".." => false,
                [b'.', ..] => self.hidden,
                _ => true,
            };
            if shown && !self.passed(&path.join(OsStr::from_bytes(name.to_bytes()))) {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether this path and all below it come before the cursor.
    fn passed(&self, path: &Path) -> bool {
        self.after.as_ref().is_some_and(|after| path < after.as_path() && !after.starts_with(path))
    }
}

fn file_path(path: &Path) -> FilePath {
    OsString::from(path).into_vec().into()
}
