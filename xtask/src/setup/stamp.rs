//! What a directory was made from: the digest of a file, kept in the directory once it is complete.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// The file that holds the digest.
const FILE: &str = ".cabana-made-from";

/// The digest of a file that says what to install.
#[derive(PartialEq, Eq)]
pub(super) struct Stamp(String);

impl Stamp {
    pub(super) fn of(file: &Path) -> Result<Self> {
        let content = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        Ok(Self(Sha256::digest(content).iter().take(6).map(|byte| format!("{byte:02x}")).collect()))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Whether the directory is complete, and was made from this very file.
    pub(super) fn is_on(&self, directory: &Path) -> bool {
        fs::read_to_string(directory.join(FILE)).is_ok_and(|text| text == self.0)
    }

    /// Says that the directory is complete.
    pub(super) fn put_on(&self, directory: &Path) -> Result<()> {
        fs::write(directory.join(FILE), &self.0).with_context(|| format!("mark {} as complete", directory.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Stamp;
    use std::fs;

    #[test]
    fn a_directory_is_complete_for_the_file_it_was_made_from_only() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lock");
        fs::write(&file, "one").unwrap();
        let one = Stamp::of(&file).unwrap();
        assert!(!one.is_on(directory.path()));
        one.put_on(directory.path()).unwrap();
        assert!(one.is_on(directory.path()));
        fs::write(&file, "two").unwrap();
        assert!(!Stamp::of(&file).unwrap().is_on(directory.path()));
    }
}
