//! A directory in memory for the files that are sent to and fro.

use crate::guard::Guard;
use crate::{artifacts, paths};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;

/// Where Linux keeps a file system in memory: there, disks and their write-back do not disturb.
const MEMORY: &str = "/dev/shm";
/// How much room there must be.
const ROOM_BYTES: u64 = 4 << 30;

/// The directory. It is removed, with all in it, however this program ends.
pub(super) struct Scratch {
    path: PathBuf,
    _guard: Guard,
}

impl Scratch {
    /// Creates it in memory, or, where there is not enough, below Cargo's target directory.
    pub(super) fn create() -> Result<Self> {
        let name = format!("cabana-bench-{}", process::id());
        let room = rustix::fs::statvfs(MEMORY).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
        let parent = if room >= ROOM_BYTES { PathBuf::from(MEMORY) } else { artifacts::target(&paths::repository()?) };
        let path = parent.join(name);
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        let guard = Guard::start(&path)?;
        Ok(Self { path, _guard: guard })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file of this size, in which `piece` stands again and again.
    pub(super) fn file(&self, name: &str, size: u64, piece: &[u8]) -> Result<PathBuf> {
        let path = self.path.join(name);
        let mut file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        let mut left = size;
        while left > 0 {
            let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all(&piece[..count]).with_context(|| format!("write {}", path.display()))?;
            left -= count as u64;
        }
        Ok(path)
    }
}
