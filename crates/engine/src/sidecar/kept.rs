//! Sidecars that outlive an engine which was killed: workerd goes on asking for the port that it was told once, and makes no other sidecar for
//! as long as the Durable Object is in memory.

use std::path::PathBuf;
use std::{fs, io};

use serde::{Deserialize, Serialize};

/// What is kept of running sidecars, a file for each, by name.
#[derive(Debug)]
pub struct Kept(PathBuf);

/// What it takes to have a sidecar again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The image that it was created with.
    pub image: String,
    /// The port of 127.0.0.1 that it listened on.
    pub port: u16,
}

impl Kept {
    /// Those in this directory.
    pub fn at(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<(String, Entry)> {
        let names = fs::read_dir(&self.0).into_iter().flatten().filter_map(|file| file.ok()?.file_name().into_string().ok());
        names.filter_map(|name| self.find(&name).map(|entry| (name, entry))).collect()
    }

    /// The one of this name.
    pub fn find(&self, name: &str) -> Option<Entry> {
        serde_json::from_slice(&fs::read(self.0.join(name)).ok()?).ok()
    }

    /// Keeps one, or keeps it as it is now.
    pub fn keep(&self, name: &str, entry: &Entry) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        fs::write(self.0.join(name), serde_json::to_vec(entry)?)
    }

    /// Keeps it no longer.
    pub fn forget(&self, name: &str) {
        // Most containers are no sidecars.
        let _ = fs::remove_file(self.0.join(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::at(directory.path().join("sidecars"));
        let entry = Entry { image: "egress:1".to_owned(), port: 1 };
        assert_eq!(kept.all(), []);
        kept.keep("a-proxy", &entry).unwrap();
        fs::write(directory.path().join("sidecars/odd"), "{").unwrap();
        assert_eq!(kept.all(), [("a-proxy".to_owned(), entry)]);
        kept.forget("a-proxy");
        kept.forget("never-there");
        assert_eq!(kept.find("a-proxy"), None);
    }
}
