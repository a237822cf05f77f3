//! `git.add`.

use serde::{Deserialize, Serialize};

use crate::{
    Operation,
    file::{Done, FilePath},
};

/// Stages files as they are now: new, changed and deleted ones.
///
/// Fails with `not_found` (repository; no such file, neither there nor known to git), `conflict` (`ignored`: a path is one that
/// `.gitignore` names), `invalid_request` (neither `paths` nor `all`, or both).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Add {
    /// The repository. Default: the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// These files and directories, relative to `path`, taken literally.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<FilePath>,
    /// Everything in the work tree.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

impl Operation for Add {
    const NAME: &'static str = "git.add";
    const IDEMPOTENT: bool = true;
    type Response = Done;

    fn summary(&self) -> String {
        self.path.iter().map(FilePath::to_string).collect()
    }
}
