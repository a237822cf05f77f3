//! `git.checkout`.

use serde::{Deserialize, Serialize};

use crate::{Operation, file::FilePath};

/// Checks out a branch, a new branch, or a commit without a branch.
///
/// A branch that only one remote has is made, and follows that one. Changes that are not committed come along where they are not in
/// the way.
///
/// Fails with `not_found` (repository, branch, commit), `conflict` (`local_changes`, `exists`, `merge_conflict`), `invalid_request`
/// (neither a branch nor a commit, a name that no branch can have).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Checkout {
    /// The repository. Default: the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// The branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// A commit, or a branch or tag that names one: checked out without a branch, or where the new `branch` begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Makes the branch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
}

impl Operation for Checkout {
    const NAME: &'static str = "git.checkout";
    type Response = CheckedOut;

    fn summary(&self) -> String {
        self.branch.iter().chain(&self.commit).cloned().collect()
    }
}

/// What is checked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CheckedOut {
    /// The branch, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit; absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}
