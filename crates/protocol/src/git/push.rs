//! `git.push`.

use serde::{Deserialize, Serialize};

use super::{Credentials, TransferEvent};
use crate::{Never, Operation, ResponseOnly, Streaming, file::FilePath};

/// Pushes a branch to the branch of the same name.
///
/// Dropping the connection or sending `cancel` ends it; the remote may have taken the branch by then. Where credentials go is as for
/// `git.pull`.
///
/// Fails with `not_found` (repository, remote, branch), `conflict` (`diverged`; `stale`, with `force`), `forbidden` (`authentication`,
/// `remote_rejected`), `unprocessable` (`upstream`: no branch is checked out and none is named; `network`), `timeout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Push {
    /// The repository. Default: the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// The name of a remote, or its URL. Default: `origin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The branch. Default: the one that is checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Replaces what the remote has, provided that it has what it had when it was last fetched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Has the branch follow the remote's from now on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub set_upstream: bool,
    /// What to tell the remote. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// How long it may take, 1 to 86,400,000. Default: 600,000. One that moves less than 1 KiB/s for 30 s
    /// (`CABANA_GIT_STALL_MS`) is given up before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl Operation for Push {
    const NAME: &'static str = "git.push";
    type Response = Pushed;

    fn summary(&self) -> String {
        [&self.remote, &self.branch].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    fn secrets(&self) -> Vec<&str> {
        self.credentials.iter().map(|credentials| credentials.pair().1).collect()
    }
}

impl Streaming for Push {
    type Event = TransferEvent;
    type Input = Never;
    type Fold = ResponseOnly;
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pushed {
    /// The branch.
    pub branch: String,
    /// What has become of the remote's.
    pub outcome: PushOutcome,
}

/// What has become of a remote's branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PushOutcome {
    /// It is new.
    Created,
    /// It has more commits.
    Updated,
    /// It has other commits.
    Forced,
    /// It had them all.
    UpToDate,
}
