//! The directory of one run: `target/dev/<process id>`, readable by its owner only, removed by the run's guard. A program that has several runs
//! under way numbers them, `<process id>-2` and so on.

use crate::{artifacts, guard};
use anyhow::{Context, Result};
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// A run's directory. It stays when this value is dropped: the guard removes it last of all.
pub(crate) struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Creates the next directory of this process, and removes those that crashed runs left behind.
    pub(crate) fn create(root: &Path) -> Result<Self> {
        let all = artifacts::target(root).join("dev");
        fs::create_dir_all(&all).with_context(|| format!("create {}", all.display()))?;
        remove_abandoned(&all);
        static RUNS: AtomicU32 = AtomicU32::new(1);
        let path = match RUNS.fetch_add(1, Ordering::Relaxed) {
            1 => all.join(process::id().to_string()),
            number => all.join(format!("{}-{number}", process::id())),
        };
        DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Writes a file that only its owner may read, in one step: a reader sees all of it or none.
pub(crate) fn write_private(file: &Path, text: &str) -> Result<()> {
    let name = file.file_name().with_context(|| format!("{} names no file", file.display()))?;
    let partial = file.with_file_name(format!(".{}.{}", name.to_string_lossy(), process::id()));
    let write = || -> std::io::Result<()> {
        let mut output: File = File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        output.write_all(text.as_bytes())?;
        fs::rename(&partial, file)
    };
    write().with_context(|| format!("write {}", file.display()))
}

/// What cannot be removed is left for the next run: it disturbs nobody.
fn remove_abandoned(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let starter = name.to_str().and_then(|name| name.split('-').next()).unwrap_or_default();
        let starter_lives = Path::new("/proc").join(starter).exists();
        if !starter_lives && !guard::is_guarded(&entry.path()) {
            let _ = guard::remove(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::write_private;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_private_file_replaces_the_old_one_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ready.json");
        fs::write(&file, "old and longer").unwrap();
        write_private(&file, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
