//! `git.clone`.

use serde::{Deserialize, Serialize};

use super::{Credentials, TransferEvent};
use crate::{Never, Operation, ResponseOnly, Streaming, file::FilePath};

/// Clones a repository over HTTP or HTTPS.
///
/// Dropping the connection or sending `cancel` ends it. A clone that fails, or is ended, leaves nothing behind but parents that it made,
/// unless it has to be killed or is ended when all is fetched and files are being written. Submodules are not cloned.
///
/// Fails with `invalid_request` (a URL that is not HTTP or holds credentials, a name that no branch can have), `conflict` (the
/// directory is not empty), `not_found` (repository, branch), `forbidden` (`authentication`; or outside the roots), `unprocessable`
/// (`network`), `timeout`, `storage_full`.
#[derive(Debug, std::clone::Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Clone {
    /// `https://…` or `http://…`, at most 2,048 bytes, without a user name or password in it.
    pub url: String,
    /// The directory, which is made, or is empty; missing parents are made. Default: the URL's last segment without `.git`, beneath the
    /// first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// The branch or tag to check out. Default: the remote's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// How many commits of its history to fetch, at least 1, of this one branch. Default: all, of all branches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// What to fetch only when it is needed: `blob:none`, `blob:limit=<n>[kmg]` or `tree:<depth>`. Later fetches of what is missing have no
    /// credentials. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What to tell the remote. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// How long it may take, 1 to 86,400,000. Default: 600,000. One that moves less than 1 KiB/s for 30 s
    /// (`CABANA_GIT_STALL_MS`) is given up before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl Clone {
    /// A clone of this repository, with every option at its default.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), path: None, branch: None, depth: None, filter: None, credentials: None, timeout_ms: None }
    }
}

impl Operation for Clone {
    const NAME: &'static str = "git.clone";
    type Response = Cloned;

    fn summary(&self) -> String {
        self.url.clone()
    }

    fn secrets(&self) -> Vec<&str> {
        self.credentials.iter().map(|credentials| credentials.pair().1).collect()
    }
}

impl Streaming for Clone {
    type Event = TransferEvent;
    type Input = Never;
    type Fold = ResponseOnly;
}

/// What was cloned.
#[derive(Debug, std::clone::Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cloned {
    /// Where it is.
    pub path: FilePath,
    /// The branch that is checked out; absent where a tag is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit that is checked out; absent where there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}
