//! The directory of the files that a benchmark sends and receives.

use crate::guard::Guard;
use crate::{artifacts, paths};
use anyhow::{Context, Result};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;

/// Where Linux keeps a file system in memory: disks and their write-back do not disturb there.
const MEMORY: &str = "/dev/shm";
/// The free space that a benchmark needs.
const FREE_BYTES: u64 = 4 << 30;

/// The directory. The guard removes it with all its files, however this program ends.
pub(super) struct Scratch {
    path: PathBuf,
    _guard: Guard,
}

impl Scratch {
    /// Creates it in memory, or below Cargo's target directory where memory is short.
    pub(super) fn create() -> Result<Self> {
        let free = rustix::fs::statvfs(MEMORY).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
        let parent = if free >= FREE_BYTES { PathBuf::from(MEMORY) } else { artifacts::target(&paths::repository()?) };
        let path = parent.join(format!("cabana-bench-{}", process::id()));
        DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("create {}", path.display()))?;
        let guard = Guard::start(&path)?;
        Ok(Self { path, _guard: guard })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
