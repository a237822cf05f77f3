//! `git.diff`.

use serde::{Deserialize, Serialize};

use crate::{Data, Operation, file::FilePath};

/// Shows what differs, as a unified diff and as counts for each file.
///
/// Without `from` and `to` it compares the work tree with what is staged; with `staged`, what is staged with the commit that is
/// checked out, or with `from`; with `from` alone, the work tree with that; with both, the two. Untracked files are not in it.
///
/// Fails with `not_found` (repository, revision), `invalid_request` (a path that is not UTF-8; `staged` with `to`, `to` without `from`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Diff {
    /// The repository. Default: the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// Compares what is staged instead of the work tree.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub staged: bool,
    /// The old side: a branch, tag or commit, as `HEAD~2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The new side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only these files and directories, relative to `path`, taken literally. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<FilePath>,
}

impl Operation for Diff {
    const NAME: &'static str = "git.diff";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Difference;

    fn summary(&self) -> String {
        self.path.iter().map(FilePath::to_string).collect()
    }
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Difference {
    /// The files.
    pub files: Vec<FileDifference>,
    /// The unified diff, with the prefixes `a/` and `b/`.
    pub patch: Data,
    /// True when there is more of either than the agent shows (`CABANA_MAX_GIT_OUTPUT_BYTES`): then the patch ends in the midst of things.
    pub truncated: bool,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileDifference {
    /// The path, relative to the top of the work tree.
    pub path: FilePath,
    /// What it is called on the old side, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FilePath>,
    /// Lines added; absent for a binary file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<u64>,
    /// Lines deleted; absent for a binary file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<u64>,
}
