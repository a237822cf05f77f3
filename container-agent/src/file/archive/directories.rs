//! Directories that an archive has, until all that is in them is extracted.

use std::{collections::BTreeMap, mem, path::PathBuf};

use rustix::fs::{Mode, Timespec};

/// What the directories that wait for their modes and times may take in memory. Beyond that, all get theirs, and those that are
/// filled further afterwards a later time.
const PENDING_BYTES: usize = 4 << 20;

/// What one takes besides its path.
const EACH_BYTES: usize = 128;

/// Directories with the modes and times that they are to have.
#[derive(Debug, Default)]
pub(super) struct Directories {
    pending: BTreeMap<PathBuf, (Mode, Timespec)>,
    bytes: usize,
}

impl Directories {
    /// Adds one; what was said of it before does not count. False when there are too many, and it is time to take them.
    pub(super) fn add(&mut self, path: PathBuf, mode: Mode, modified: Timespec) -> bool {
        self.bytes += path.as_os_str().len() + EACH_BYTES;
        self.pending.insert(path, (mode, modified));
        self.bytes <= PENDING_BYTES
    }

    /// Takes all, those deeper in the tree before those that hold them, which may then close themselves to us.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (PathBuf, Mode, Timespec)> + use<> {
        self.bytes = 0;
        mem::take(&mut self.pending).into_iter().rev().map(|(path, (mode, modified))| (path, mode, modified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(directories: &mut Directories, path: &str, mode: u32) -> bool {
        directories.add(path.into(), Mode::from_raw_mode(mode), Timespec { tv_sec: 0, tv_nsec: 0 })
    }

    #[test]
    fn the_last_word_counts_and_the_deepest_come_first() {
        let mut directories = Directories::default();
        for (path, mode) in [("a", 0o700), ("a/b", 0o500), ("a.b", 0o500), ("a", 0o755)] {
            assert!(add(&mut directories, path, mode));
        }
        let taken: Vec<_> = directories.take().map(|(path, mode, _)| (path, mode.as_raw_mode())).collect();
        assert_eq!(taken, [("a.b".into(), 0o500), ("a/b".into(), 0o500), ("a".into(), 0o755)]);
        assert_eq!(directories.take().count(), 0);
    }

    #[test]
    fn their_memory_is_bounded() {
        let mut directories = Directories::default();
        let long = "d".repeat(1_000);
        let fit = (0..).take_while(|number| add(&mut directories, &format!("{long}{number}"), 0o700)).count();
        assert!(fit < PENDING_BYTES / long.len() && fit > PENDING_BYTES / (2 * long.len()), "{fit}");
    }
}
