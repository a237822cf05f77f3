//! Archives of a sandbox's files: they outlast the sandbox, its image, and the platform's snapshots.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, SandboxId, file::FilePath, text::is_text};

/// Most patterns that leave something out of an archive.
pub const MAX_EXCLUDES: usize = 64;

/// Most archives that a tenant may have.
pub const MAX_ARCHIVES: usize = 1_000;

/// Names an archive: `<sandbox>.<26 characters>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct ArchiveId(String);

impl ArchiveId {
    /// The archive of this sandbox of which `unique` is true of no other.
    pub fn new(sandbox: &SandboxId, unique: &str) -> Self {
        Self(format!("{sandbox}.{unique}"))
    }

    /// The sandbox that it was made of. Fails with `invalid_request` where the id names none.
    pub fn sandbox(&self) -> Result<SandboxId, Error> {
        self.0.split_once('.').ok_or_else(|| invalid(&self.0))?.0.parse()
    }
}

impl FromStr for ArchiveId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unique =
            |unique: &str| unique.len() == 26 && unique.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        match text.split_once('.') {
            Some((sandbox, rest)) if unique(rest) => Ok(Self::new(&sandbox.parse().map_err(|_: Error| invalid(text))?, rest)),
            _ => Err(invalid(text)),
        }
    }
}

fn invalid(text: &str) -> Error {
    let shown: String = text.chars().take(SandboxId::MAX_LENGTH + 27).collect();
    Error::invalid_request(format!("{shown:?} is not an archive's id: an id is <sandbox>.<26 characters>")).because("invalid_id")
}

is_text!(ArchiveId);

/// An archive, as everything shows it that shows archives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Archive {
    /// Its id. It stays when the sandbox goes.
    pub id: ArchiveId,
    /// The sandbox that it was made of.
    pub sandbox: SandboxId,
    /// What its maker calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The directory that it was made of.
    pub path: FilePath,
    /// When it was begun, RFC 3339 in UTC. What was written later need not be in it.
    pub created_at: String,
    /// The size of its files and their names, in bytes.
    pub size_bytes: u64,
    /// How many chunks it consists of.
    pub chunks: u64,
    /// How many of them no other archive of the tenant had.
    pub new_chunks: u64,
    /// What those take, compressed, in bytes: what this archive has added.
    pub stored_bytes: u64,
}

/// `POST /v1/sandboxes/{id}/archives`: makes an archive of a directory, which wakes the sandbox. Only chunks that no other archive of the tenant
/// has are stored. Programs run on; a file that becomes shorter while it is read fails the archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateArchive {
    /// The directory. Default: the first root, which is `/workspace` unless the sandbox has others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// What to call it, at most 128 bytes. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Globs of what to leave out, by paths below the directory; at most 64. Default: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Whether to leave out what `.gitignore` files of repositories, and `.ignore` files, say. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_files: bool,
}

/// `POST /v1/sandboxes/{id}/archives/{archive}/restore`: has a directory hold what the archive holds, and nothing else. Every chunk is
/// compared with its name; where one is missing or damaged, the directory stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RestoreArchive {
    /// The directory. Default: the one that the archive was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
}

/// The archives of a tenant, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Archives {
    /// The archives.
    #[serde(rename = "items")]
    pub archives: Vec<Archive>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_their_sandbox() {
        let id = ArchiveId::new(&"sbx-a".parse().unwrap(), &"a".repeat(26));
        assert_eq!(id.sandbox().unwrap().as_str(), "sbx-a");
        assert_eq!(id.as_str().parse::<ArchiveId>().unwrap(), id);
        for text in ["", "sbx-a", "sbx-a.", "sbx-a.AAAAAAAAAAAAAAAAAAAAAAAAAA", "../x.y"] {
            assert!(text.parse::<ArchiveId>().is_err(), "{text}");
        }
    }
}
