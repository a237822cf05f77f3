//! `git.branch`.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Operation, file::FilePath};

/// Lists, creates or deletes branches; answers with the list as it is then.
///
/// Fails with `not_found` (repository, branch, start), `conflict` (it exists; it is checked out; it has commits that are nowhere
/// else), `invalid_request` (a name that no branch can have).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Branch {
    /// The repository. Default: the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// What to do. Default: nothing but to list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<BranchAction>,
    /// Whether branches of remotes are listed too, as they were when last fetched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remotes: bool,
}

/// What to do to a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BranchAction {
    /// Makes one, without checking it out.
    Create {
        /// Its name.
        name: String,
        /// Where it begins: a branch, tag or commit. Default: what is checked out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start: Option<String>,
    },
    /// Deletes one of the repository's own.
    Delete {
        /// Its name.
        name: String,
        /// Even if its commits are nowhere else.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
}

impl<'de> Deserialize<'de> for BranchAction {
    // serde's tagged enums forget which field was wrong.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Kind {
            Create,
            Delete,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(rename = "type")]
            kind: Kind,
            name: String,
            start: Option<String>,
            force: Option<bool>,
        }
        match Fields::deserialize(deserializer)? {
            Fields { kind: Kind::Create, name, start, force: None } => Ok(Self::Create { name, start }),
            Fields { kind: Kind::Delete, name, start: None, force } => Ok(Self::Delete { name, force: force.unwrap_or(false) }),
            Fields { kind: Kind::Create, .. } => Err(de::Error::unknown_field("force", &["name", "start"])),
            Fields { kind: Kind::Delete, .. } => Err(de::Error::unknown_field("start", &["name", "force"])),
        }
    }
}

impl Operation for Branch {
    const NAME: &'static str = "git.branch";
    type Response = Branches;

    fn summary(&self) -> String {
        self.path.iter().map(FilePath::to_string).collect()
    }
}

/// The branches of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Branches {
    /// By their name; the repository's own first.
    #[serde(rename = "items")]
    pub branches: Vec<BranchInfo>,
    /// True when there are more than the agent lists (`CABANA_MAX_GIT_OUTPUT_BYTES`).
    pub truncated: bool,
}

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BranchInfo {
    /// Its name, as `main`; of a remote's, as `origin/main`.
    pub name: String,
    /// Its newest commit.
    pub commit: String,
    /// The branch that it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Whether it is checked out.
    pub current: bool,
    /// Whether it is a remote's.
    pub remote: bool,
}
