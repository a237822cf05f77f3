//! Why git refuses.

use serde::{Deserialize, Serialize};

/// What git refused for: `details.reason` of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// `not_found`: there is no repository at the path.
    Repository,
    /// `not_found`: there is no such repository at the URL, or none that the credentials may see.
    RemoteRepository,
    /// `not_found`: the repository has no such remote.
    Remote,
    /// `not_found`: there is no such branch, tag or commit.
    Revision,
    /// `not_found`: git knows no such file.
    Path,
    /// `forbidden`: the remote wants other credentials, or some. Not about the caller's own key.
    Authentication,
    /// `forbidden`: the remote has refused what was pushed.
    RemoteRejected,
    /// `forbidden`: the remote is reached neither over HTTP nor over HTTPS.
    Protocol,
    /// `forbidden`: a setting of the repository's own configuration could redirect the credentials, or could name a program that git
    /// would run; `details.key` names it.
    UnsafeConfiguration,
    /// `forbidden`: the user whom commands run as may not read or write the files.
    Permission,
    /// `conflict`: the directory is not empty, or there is such a branch already.
    Exists,
    /// `conflict`: `.gitignore` names the file.
    Ignored,
    /// `conflict`: the branch is checked out.
    InUse,
    /// `conflict`: the branch has commits that are nowhere else.
    NotMerged,
    /// `conflict`: another git process is at work.
    Locked,
    /// `conflict`: changes that are not committed would be lost.
    LocalChanges,
    /// `conflict`: both sides have changed the same; `git.status` lists where. The merge waits to be committed.
    MergeConflict,
    /// `conflict`: each side has commits that the other does not have.
    Diverged,
    /// `conflict`: the remote's branch is not where it was last seen.
    Stale,
    /// `conflict`: nothing has changed.
    NothingToCommit,
    /// `unprocessable`: the commit has no author, and the configuration names none.
    Identity,
    /// `unprocessable`: no branch is checked out, or it follows none.
    Upstream,
    /// `unprocessable`: the remote could not be reached, or broke off.
    Network,
    /// `unprocessable`: the sandbox has no git.
    NoGit,
    /// `unprocessable`: anything else; the message says what git says.
    Other,
}
