//! `git.pull`.

use serde::{Deserialize, Serialize};

use super::{Credentials, Person, TransferEvent};
use crate::{Never, Operation, ResponseOnly, Streaming, file::FilePath};

/// Fetches a branch and brings the one that is checked out up to it.
///
/// Dropping the connection or sending `cancel` ends it; what is checked out then is the old or the new.
///
/// Credentials go to the host that the remote's URL names; what runs in the sandbox can change what a remote's name means, so give a
/// URL where that is not trusted.
///
/// Fails with `not_found` (repository, remote, branch), `conflict` (`diverged`, `local_changes`, `merge_conflict`), `forbidden`
/// (`authentication`), `unprocessable` (`upstream`, `network`; `identity`: a merge needs an author, and neither `author` nor the configuration names one),
/// `timeout`, `storage_full`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pull {
    /// The repository. Default: the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// The name of a remote, or its URL. Default: the one that the branch follows, or `origin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The remote's branch. Default: the one that is followed. Needed where `remote` is a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// What to do where both sides have new commits. Default: `fast_forward`, which refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// The author and committer of a merge. Default: `user.name` and `user.email` of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Person>,
    /// What to tell the remote. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// How long it may take, 1 to 86,400,000. Default: 600,000. One that moves less than 1 KiB/s for 30 s
    /// (`CABANA_GIT_STALL_MS`) is given up before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// How two lines of commits come together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Not at all: fails with `diverged`.
    #[default]
    FastForward,
    /// By a commit that joins them. Where they conflict the merge waits, for `git.add` and `git.commit`.
    Merge,
}

impl Operation for Pull {
    const NAME: &'static str = "git.pull";
    type Response = Pulled;

    fn summary(&self) -> String {
        [&self.remote, &self.branch].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    fn secrets(&self) -> Vec<&str> {
        self.credentials.iter().map(|credentials| credentials.pair().1).collect()
    }
}

impl Streaming for Pull {
    type Event = TransferEvent;
    type Input = Never;
    type Fold = ResponseOnly;
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pulled {
    /// The branch that is checked out, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit that is checked out now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether that is another one than before.
    pub updated: bool,
}
