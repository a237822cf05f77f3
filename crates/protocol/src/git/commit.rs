//! `git.commit`.

use serde::{Deserialize, Serialize};

use crate::{Operation, file::FilePath};

/// Commits what is staged. It is not signed, and no hook sees it.
///
/// Fails with `not_found` (no repository), `conflict` (`nothing_to_commit`, `merge_conflict`), `unprocessable` (`identity`: neither
/// `author` nor the configuration says who commits), `invalid_request` (an empty message).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Commit {
    /// The repository. Default: the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// The message; whitespace at its end is dropped.
    pub message: String,
    /// Who wrote it, and commits it. Default: `user.name` and `user.email` of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Person>,
    /// Stages all changed and deleted files first, but no new ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Commits even if nothing has changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_empty: bool,
}

impl Operation for Commit {
    const NAME: &'static str = "git.commit";
    type Response = Committed;

    fn summary(&self) -> String {
        self.message.clone()
    }
}

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Person {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

/// What was committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Committed {
    /// The commit's hash.
    pub commit: String,
    /// The branch that has it, if one is checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}
