//! The directory of the files that are sent and received.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The directory. Its creator removes it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file of `size` bytes that repeats `piece`.
    pub(crate) fn write(&self, name: &str, size: u64, piece: &[u8]) -> Result<PathBuf> {
        let path = self.0.join(name);
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
