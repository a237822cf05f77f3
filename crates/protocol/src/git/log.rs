//! `git.log`.

use serde::{Deserialize, Serialize};

use crate::{Data, Operation, file::FilePath};

/// Commits that `git.log` returns at most where `limit` is not set.
pub const DEFAULT_LOG_LIMIT: u32 = 50;

/// The largest `limit` of `git.log`.
pub const MAX_LOG_LIMIT: u32 = 1_000;

/// Lists commits, the newest first.
///
/// Before the first commit the list is empty.
///
/// Fails with `not_found` (repository, revision), `invalid_request` (`limit`, a path that is not UTF-8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Log {
    /// The repository. Default: the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// Where to begin: a branch, tag or commit. Default: what is checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// How many at most, 1 to 1,000. Default: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// How many to pass over first. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<u32>,
    /// Only commits that change these files and directories, relative to `path`, taken literally. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<FilePath>,
}

impl Operation for Log {
    const NAME: &'static str = "git.log";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = History;

    fn summary(&self) -> String {
        self.path.iter().map(FilePath::to_string).collect()
    }
}

/// Some commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct History {
    /// The commits.
    #[serde(rename = "items")]
    pub commits: Vec<LogEntry>,
    /// True when there are more: ask again with `skip`. That may be fewer than `limit` commits on, where messages are long
    /// (`CABANA_MAX_GIT_OUTPUT_BYTES`).
    pub more: bool,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogEntry {
    /// Its hash.
    pub commit: String,
    /// The hashes of those before it: two or more for a merge, none for the first.
    pub parents: Vec<String>,
    /// Who wrote it.
    pub author: Signature,
    /// Who committed it.
    pub committer: Signature,
    /// The whole message.
    pub message: Data,
}

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Signature {
    /// The name.
    pub name: Data,
    /// The address.
    pub email: Data,
    /// When, RFC 3339 in that person's time zone.
    pub at: String,
}
