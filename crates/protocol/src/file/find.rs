//! Finding files by their names.

use serde::{Deserialize, Serialize};

use super::{FilePath, Kind, Metadata, RelativePaths};
use crate::Operation;

/// Finds files by a glob, however deep they are.
///
/// What .gitignore, .ignore and .git/info/exclude name is left out, as are hidden names, unless asked for; symlinks are found, never
/// followed. The entries are sorted by their paths; where there are more than `limit`, they are the first. Cancelling ends it.
///
/// Fails with `invalid_request`, `not_found`, `forbidden`, `conflict` (not a directory), `too_many_requests` (others search, and
/// within its time none has finished).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Find {
    /// Where to look.
    pub path: FilePath,
    /// A glob: `*`, `?`, `[a-z]`, `{a,b}`, and `**` for any number of directories. One without a slash is matched with the name, one
    /// with a slash with the path below `path`.
    pub pattern: String,
    /// Finds only what is of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Leaves out what matches one of these globs, and all below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Finds names that begin with a dot, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Finds what is ignored, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
    /// How many entries at most, 1 to 10,000. Default: 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// How long to look, 1 to 600,000. Default: 30,000. Then the answer is what was found so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Find {
    const NAME: &'static str = "file.find";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Found;

    fn summary(&self) -> String {
        format!("{} in {}", self.pattern, self.path)
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Found {
    /// What matched; each `path` begins with the one that was asked for.
    #[serde(rename = "items")]
    pub entries: Vec<Metadata>,
    /// Directories that could not be read.
    pub skipped: u64,
    /// There is more: `limit` or 4 MiB of paths were reached, or the time was up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The time was up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
}
