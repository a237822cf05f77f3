//! `git.status`.

use serde::{Deserialize, Serialize};

use crate::{Operation, file::FilePath};

/// Tells which branch is checked out, how far it is from its upstream, and what has changed.
///
/// Writes nothing. What happens in submodules is not looked at.
///
/// Fails with `not_found` (no repository), `forbidden`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// The repository. Default: the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// Whether files are listed that git does not know, each by itself. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untracked: Option<bool>,
}

impl Operation for Status {
    const NAME: &'static str = "git.status";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = State;

    fn summary(&self) -> String {
        self.path.iter().map(FilePath::to_string).collect()
    }
}

/// How a repository stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct State {
    /// The branch that is checked out, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit that is checked out; absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The branch that it follows, as `origin/main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// How many commits it has that its upstream, when last fetched, does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
    /// How many commits its upstream has that it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// What has changed. Empty: the work tree is clean.
    pub entries: Vec<StatusEntry>,
    /// True when there is more than the agent lists (`CABANA_MAX_GIT_OUTPUT_BYTES`).
    pub truncated: bool,
}

/// A path that has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusEntry {
    /// The path, relative to the top of the work tree.
    pub path: FilePath,
    /// What it was called before, of one that was renamed or copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FilePath>,
    /// What the next commit changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Change>,
    /// What has changed beyond that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unstaged: Option<Change>,
    /// What a merge could not settle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
}

/// What has become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It has another content or mode.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another name.
    Renamed,
    /// It is a copy.
    Copied,
    /// It is of another kind, as a symlink in the place of a file.
    TypeChanged,
    /// Git does not know it.
    Untracked,
}

/// What the two sides of a merge have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// Both have modified it.
    BothModified,
    /// Both have added it.
    BothAdded,
    /// Both have deleted it.
    BothDeleted,
    /// Only we have added it.
    AddedByUs,
    /// Only they have added it.
    AddedByThem,
    /// We have deleted it, they have modified it.
    DeletedByUs,
    /// They have deleted it, we have modified it.
    DeletedByThem,
}
