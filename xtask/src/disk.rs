//! Whether there is room to build and to run.

use crate::{artifacts, paths};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// The least that is worth starting with. A fresh clone needs about 8 GiB for `test`, and a third of it for `dev`.
const NEEDED: u64 = 2 << 30;

/// Fails when the target directory or the cache has too little room left: better now than after minutes of building.
pub(crate) fn check() -> Result<()> {
    let target = artifacts::target(&paths::repository()?);
    fs::create_dir_all(&target).with_context(|| format!("create {}", target.display()))?;
    check_free(&target, NEEDED, "CARGO_TARGET_DIR")?;
    check_free(&paths::cache()?, NEEDED, "XDG_CACHE_HOME")
}

fn check_free(directory: &Path, needed: u64, variable: &str) -> Result<()> {
    let volume = rustix::fs::statvfs(directory).with_context(|| format!("ask how much room {} has", directory.display()))?;
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    if free < needed {
        let (free, needed) = (free >> 20, needed >> 20);
        let directory = directory.display();
        bail!("{directory} has {free} MiB left and needs {needed}: free some space, or set {variable} to a directory with room");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_free;

    #[test]
    fn too_little_room_is_refused_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        check_free(directory.path(), 0, "CARGO_TARGET_DIR").unwrap();
        let error = check_free(directory.path(), u64::MAX, "CARGO_TARGET_DIR").unwrap_err().to_string();
        assert!(error.contains("free some space, or set CARGO_TARGET_DIR") && error.lines().count() == 1, "{error}");
    }
}
