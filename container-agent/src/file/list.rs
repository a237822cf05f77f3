//! Listing directories, sorted and page by page.

use std::{
    collections::BinaryHeap,
    ffi::{CStr, CString, OsStr, OsString},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use cabana_protocol::{
    Error,
    file::{DEFAULT_LIST_LIMIT, FilePath, Kind, List, Listing, MAX_LIST_LIMIT, Metadata},
    names::{excluded_field, invalid_field},
};
use rustix::{
    fs::{Dir as ReadDir, Mode, OFlags, openat},
    io::Errno,
};
use tokio_util::sync::CancellationToken;

use super::stat::describe_name;
use crate::{
    fs::{Roots, errno_error, is_dots, join},
    globs::Globs,
};

/// The largest `depth`.
const MAX_DEPTH: u32 = 64;

/// Names of a directory that are remembered at once, on each level that is listed. A larger one is read again for those that follow.
const NAMES: usize = 2_048;

/// A page whose paths take this much is full, whatever its limit.
const PAGE_BYTES: usize = 4 << 20;

/// A page that is being filled, directory by directory, in the order of the paths' components.
struct Page<'a> {
    cancel: &'a CancellationToken,
    after: Option<PathBuf>,
    hidden: bool,
    glob: Option<Globs>,
    limit: usize,
    /// Names that are remembered at once.
    names: usize,
    entries: Vec<Metadata>,
    /// What their paths take.
    bytes: usize,
    /// There is more than fits.
    more: bool,
}

pub(super) fn list(roots: &Roots, request: &List, cancel: &CancellationToken) -> Result<Listing, Error> {
    if request.recursive && request.depth.is_some() {
        return Err(excluded_field("recursive", "cannot be combined with `depth`, which it stands for"));
    }
    let depth = request.depth.unwrap_or(if request.recursive { MAX_DEPTH } else { 1 });
    let limit = request.limit.unwrap_or(DEFAULT_LIST_LIMIT);
    if !(1..=MAX_DEPTH).contains(&depth) {
        return Err(invalid_field("depth", &format!("a whole number from 1 to {MAX_DEPTH}")));
    }
    if !(1..=MAX_LIST_LIMIT).contains(&limit) {
        return Err(invalid_field("limit", &format!("a whole number from 1 to {MAX_LIST_LIMIT}")));
    }
    let directory = roots.target(&request.path)?.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut page = Page {
        cancel,
        after: request.cursor.as_ref().map(|cursor| PathBuf::from(OsStr::from_bytes(cursor.as_bytes()))),
        hidden: request.hidden.unwrap_or(true),
        glob: request.glob.as_ref().map(|glob| Globs::new(&[glob])).transpose()?,
        limit: limit as usize,
        // On a single level, a page's worth and one more: reading the directory once tells all of them.
        names: if depth > 1 { NAMES } else { NAMES.max(limit as usize + 1) },
        entries: Vec::new(),
        bytes: 0,
        more: false,
    };
    page.fill(directory, Path::new(""), depth).map_err(|errno| errno_error(&request.path, errno))?;
    let cursor = page.entries.last().filter(|_| page.more).map(|entry| entry.path.clone());
    Ok(Listing { entries: page.entries, cursor })
}

impl Page<'_> {
    /// Adds what is in this directory, which is listed as `path`, and below.
    fn fill(&mut self, directory: OwnedFd, path: &Path, depth: u32) -> Result<(), Errno> {
        let mut directory = ReadDir::new(directory)?;
        let mut done = None;
        loop {
            let names = self.names(&mut directory, path, done.as_deref())?;
            for name in &names {
                self.visit(directory.fd()?, name, join(path, name), depth)?;
                if self.more || self.cancel.is_cancelled() {
                    return Ok(());
                }
            }
            if names.len() < self.names {
                return Ok(());
            }
            done = names.into_iter().next_back();
            directory.rewind();
        }
    }

    /// Adds a name in a directory and what is below it.
    fn visit(&mut self, directory: BorrowedFd<'_>, name: &CStr, path: PathBuf, depth: u32) -> Result<(), Errno> {
        // A directory before the cursor, or that the glob does not match, may still hold entries that are listed.
        let after = self.after.as_ref().is_none_or(|after| path > *after);
        let listed = after && self.glob.as_ref().is_none_or(|glob| glob.matches(&path));
        if listed && (self.entries.len() == self.limit || self.bytes > PAGE_BYTES) {
            self.more = true;
            return Ok(());
        }
        let entry = match describe_name(directory, name, file_path(&path)) {
            Ok(entry) => entry,
            // Removed while it was being listed.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let descend = entry.kind == Kind::Directory && depth > 1;
        if listed {
            self.bytes += entry.path.as_bytes().len();
            self.entries.push(entry);
        }
        if descend {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(directory, name, flags, Mode::empty()) {
                Ok(below) => return self.fill(below, &path, depth - 1),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// The first names in this directory, sorted, after the one that is `done`, that this page or a later one shows.
    fn names(&self, directory: &mut ReadDir, path: &Path, done: Option<&CStr>) -> Result<Vec<CString>, Errno> {
        let mut names = BinaryHeap::new();
        for entry in directory {
            let entry = entry?;
            let name = entry.file_name();
            let shown = !is_dots(name) && (self.hidden || name.to_bytes().first() != Some(&b'.'));
            if !shown || done.is_some_and(|done| name <= done) || self.passed(&join(path, name)) {
                continue;
            }
            if names.len() < self.names {
                names.push(name.to_owned());
            } else if let Some(mut last) = names.peek_mut().filter(|last| name < last.as_c_str()) {
                *last = name.to_owned();
            }
        }
        Ok(names.into_sorted_vec())
    }

    /// Whether this path and all below it come before the cursor.
    fn passed(&self, path: &Path) -> bool {
        self.after.as_ref().is_some_and(|after| path < after.as_path() && !after.starts_with(path))
    }
}

fn file_path(path: &Path) -> FilePath {
    OsString::from(path).into_vec().into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_larger_than_what_is_remembered_is_listed_once() {
        let root = tempfile::tempdir().unwrap();
        let count = NAMES * 2 + 7;
        for number in 0..count {
            fs::write(root.path().join(format!("{number:05}")), "").unwrap();
        }
        let roots = Roots::at(root.path());
        let (mut cursor, mut seen) = (None, Vec::new());
        loop {
            let limit = Some(3_000);
            let request = List {
                path: ".".into(),
                depth: None,
                recursive: false,
                hidden: None,
                glob: Some("*[0-8]".into()),
                limit,
                cursor,
                session: None,
            };
            let page = list(&roots, &request, &CancellationToken::new()).unwrap();
            seen.extend(page.entries.into_iter().map(|entry| entry.path.to_string()));
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        let expected = (0..count).filter(|number| number % 10 != 9).map(|number| format!("{number:05}"));
        assert!(seen.into_iter().eq(expected));
    }
}
