//! Git repositories in the sandbox, through the `git` program of its image, 2.38 or later.
//!
//! `path` is the repository's work tree or a directory in it, resolved beneath the sandbox's roots by the kernel; relative paths
//! start at the first root, which is the default. Git itself runs as commands do, as the same user and not confined: a repository
//! whose `.git` leads elsewhere is worked on there.
//!
//! What a repository brings along is not run: no hooks, no filters, diff or merge drivers, credential helpers or monitors from its own
//! configuration. The configuration of the user and of the system holds: name and address, proxies, certificates, filters. Remotes are
//! reached over HTTP and HTTPS and no other way. Submodules are left alone. What takes more, as Git LFS, which uploads in a hook, takes
//! `exec`.
//!
//! All fail with `unprocessable` where there is no git, with `timeout`, and with `too_many_requests`. What git itself refuses has a
//! [`Reason`] in `details.reason`, and the last of what it said in `details.output`. Names of branches that are not UTF-8 are shown
//! with U+FFFD in place of what is not.

mod add;
mod branch;
mod checkout;
mod clone;
mod commit;
mod credentials;
mod diff;
mod log;
mod pull;
mod push;
mod reason;
mod status;

pub use add::Add;
pub use branch::{Branch, BranchAction, BranchInfo, Branches};
pub use checkout::{CheckedOut, Checkout};
pub use clone::{Clone, Cloned};
pub use commit::{Commit, Committed, Person};
pub use credentials::{Credentials, TOKEN_USERNAME};
pub use diff::{Diff, Difference, FileDifference};
pub use log::{DEFAULT_LOG_LIMIT, History, Log, LogEntry, MAX_LOG_LIMIT, Signature};
pub use pull::{Pull, Pulled, Strategy};
pub use push::{Push, PushOutcome, Pushed};
pub use reason::Reason;
pub use status::{Change, Conflict, State, Status, StatusEntry};

use serde::{Deserialize, Serialize};

/// How long `git.clone`, `git.pull` and `git.push` may take that set no `timeout_ms`, in milliseconds: 10 minutes.
pub const DEFAULT_TRANSFER_TIMEOUT_MS: u64 = 600_000;

/// How far a transfer has come. What a slow listener misses is not repeated.
#[derive(Debug, std::clone::Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TransferEvent {
    /// Some of a phase is done.
    Progress {
        /// What is being done, in git's words: `Receiving objects`, `Resolving deltas`, `Writing objects` …
        phase: String,
        /// How many of them are done.
        done: u64,
        /// How many there are.
        total: u64,
    },
}
