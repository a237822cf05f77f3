//! The changes of one moment.

use std::{collections::HashSet, ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use cabana_protocol::file::{Change, FilePath, WatchEnd};

/// Changes that are kept for a listener who has not heard those before; what comes on top is an overflow.
const MAX_CHANGES: usize = 16_384;

/// The changes of one moment, in the order in which they happened.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What is to be told.
    pub(super) changes: Vec<Change>,
    /// The watch is over.
    pub(super) end: Option<WatchEnd>,
    /// There is more to take at once.
    pub(super) more: bool,
    /// Whose content has been told of.
    modified: HashSet<PathBuf>,
    /// Whose attributes have been told of.
    touched: HashSet<PathBuf>,
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.changes.len() >= MAX_CHANGES
    }

    fn push(&mut self, change: Change) {
        if !self.is_full() {
            self.changes.push(change);
        } else if self.changes.last() != Some(&Change::Overflow {}) {
            self.changes.push(Change::Overflow {});
        }
    }

    pub(super) fn created(&mut self, path: PathBuf, directory: bool) {
        // Who hears of something new reads all of it.
        self.modified.insert(path.clone());
        self.touched.insert(path.clone());
        self.push(Change::Created { path: wire(path), directory });
    }

    pub(super) fn modified(&mut self, path: PathBuf) {
        if self.modified.insert(path.clone()) {
            self.push(Change::Modified { path: wire(path) });
        }
    }

    pub(super) fn touched(&mut self, path: PathBuf, directory: bool) {
        if self.touched.insert(path.clone()) {
            self.push(Change::Attributes { path: wire(path), directory });
        }
    }

    pub(super) fn removed(&mut self, path: PathBuf, directory: bool) {
        self.forget(&path);
        self.push(Change::Removed { path: wire(path), directory });
    }

    pub(super) fn renamed(&mut self, from: PathBuf, to: PathBuf, directory: bool) {
        self.forget(&from);
        self.forget(&to);
        self.push(Change::Renamed { from: wire(from), to: wire(to), directory });
    }

    pub(super) fn overflow(&mut self) {
        if self.changes.last() != Some(&Change::Overflow {}) {
            self.changes.push(Change::Overflow {});
        }
    }

    /// What happens to this path from here on is news again.
    fn forget(&mut self, path: &PathBuf) {
        self.modified.remove(path);
        self.touched.remove(path);
    }
}

fn wire(path: PathBuf) -> FilePath {
    OsString::from(path).into_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_new_is_left_out() {
        let mut batch = Batch::default();
        batch.created("a".into(), false);
        batch.modified("a".into());
        batch.touched("a".into(), false);
        batch.modified("b".into());
        batch.modified("b".into());
        batch.removed("b".into(), false);
        batch.modified("b".into());
        batch.renamed("b".into(), "a".into(), false);
        batch.modified("a".into());
        let told: Vec<_> = batch.changes.iter().map(|change| serde_json::to_value(change).unwrap()["type"].to_string()).collect();
        assert_eq!(told.join(" ").replace('"', ""), "created modified removed modified renamed modified");
    }

    #[test]
    fn what_does_not_fit_is_one_overflow() {
        let mut batch = Batch::default();
        for number in 0..MAX_CHANGES + 10 {
            batch.created(number.to_string().into(), false);
        }
        batch.overflow();
        assert_eq!((batch.changes.len(), batch.changes.last()), (MAX_CHANGES + 1, Some(&Change::Overflow {})));
    }
}
