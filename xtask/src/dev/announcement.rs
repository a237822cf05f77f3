//! How the `cabana` command finds this service: a file in the user's cache, which only its owner can read, for as long as the service runs.
//!
//! crates/cli/src/dev.rs reads it.

use super::directory::write_private;
use crate::paths;
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// The file. Dropping this value removes it.
pub(crate) struct Announcement {
    file: PathBuf,
}

impl Announcement {
    /// Announces the service of this process.
    pub(crate) fn publish(root: &Path, url: &str, api_key: &str) -> Result<Self> {
        Self::publish_in(&paths::cache()?.join("dev"), root, url, api_key)
    }

    fn publish_in(directory: &Path, root: &Path, url: &str, api_key: &str) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        remove_abandoned(directory);
        let file = directory.join(format!("{}.json", process::id()));
        let ready_at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let text = json!({
            "url": url, "api_key": api_key, "process": process::id(), "root": root.to_string_lossy(),
            "ready_at_ms": u64::try_from(ready_at_ms).unwrap_or(u64::MAX),
        });
        write_private(&file, &format!("{text}\n"))?;
        Ok(Self { file })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // A file that stays names a process that is gone, and is passed over.
        let _ = fs::remove_file(&self.file);
    }
}

/// Removes what runs have left behind that were killed.
fn remove_abandoned(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let starter = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
        if starter.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            // Another run may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Announcement;
    use serde_json::Value;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process;

    #[test]
    fn a_service_is_announced_while_it_runs_to_its_owner_alone() {
        let cache = tempfile::tempdir().unwrap();
        fs::write(cache.path().join("4194305.json"), "{}").unwrap();
        let announcement = Announcement::publish_in(cache.path(), Path::new("/a"), "http://127.0.0.1:1", "key").unwrap();
        let files: Vec<_> = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [file] = files.as_slice() else { panic!("{files:?}: what a killed run has left is removed") };
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        let text: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!((&text["url"], &text["process"]), (&"http://127.0.0.1:1".into(), &process::id().into()));
        drop(announcement);
        assert!(!cache.path().join(format!("{}.json", process::id())).exists());
    }
}
