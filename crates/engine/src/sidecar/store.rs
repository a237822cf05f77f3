//! What is stored of running sidecars, so that the next engine can restore them after this one was killed. workerd keeps using the port that it
//! was told, and makes no other sidecar while the Durable Object is in memory.

use std::path::PathBuf;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::egress::EgressRules;

/// Records of running sidecars: one file each, by name.
#[derive(Debug, Clone)]
pub struct SidecarStore(PathBuf);

/// What is needed to restore a sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SidecarRecord {
    /// The image that it was created with.
    pub image: String,
    /// The port of 127.0.0.1 that it listened on.
    pub port: u16,
    /// What workerd allowed.
    #[serde(default)]
    pub egress: EgressRules,
}

impl SidecarStore {
    /// A store in this directory, which need not exist.
    pub fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// All records, with the sidecars' names. Unreadable ones are left out.
    pub fn list(&self) -> Vec<(String, SidecarRecord)> {
        let names = fs::read_dir(&self.0).into_iter().flatten().filter_map(|file| file.ok()?.file_name().into_string().ok());
        names.filter_map(|name| self.get(&name).map(|record| (name, record))).collect()
    }

    /// The record of this sidecar.
    pub fn get(&self, name: &str) -> Option<SidecarRecord> {
        serde_json::from_slice(&fs::read(self.0.join(name)).ok()?).ok()
    }

    /// Stores a record, in place of the sidecar's earlier one.
    pub fn put(&self, name: &str, record: &SidecarRecord) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        fs::write(self.0.join(name), serde_json::to_vec(record)?)
    }

    /// Removes a record, if there is one.
    pub fn remove(&self, name: &str) {
        // Most containers are not sidecars and have none.
        let _ = fs::remove_file(self.0.join(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_until_they_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = SidecarStore::new(directory.path().join("sidecars"));
        let record = SidecarRecord { image: "egress:1".to_owned(), port: 1, egress: EgressRules::default() };
        assert_eq!(store.list(), []);
        store.put("a-proxy", &record).unwrap();
        fs::write(directory.path().join("sidecars/odd"), "{").unwrap();
        assert_eq!(store.list(), [("a-proxy".to_owned(), record)]);
        store.remove("a-proxy");
        store.remove("never-there");
        assert_eq!(store.get("a-proxy"), None);
    }
}
