//! Making a sandbox ready for its project.

use serde::{Deserialize, Serialize};

use super::Sandbox;
use crate::{Error, exec::ExecEvent, git::TransferEvent};

/// How far a sandbox is on its way to be what its project wants.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Setup {
    /// Where it is.
    pub state: SetupState,
    /// Where the clone is, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it failed. The request that created the sandbox, sent again, goes on where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// See [`Setup::state`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SetupState {
    /// Nothing was done yet.
    #[default]
    Pending,
    /// The repository is being cloned.
    Cloning,
    /// The project's script runs.
    Running,
    /// All is done, and is not done again.
    Done,
    /// Something went wrong, or whoever waited for it went away.
    Failed,
}

/// What is said while a sandbox is made ready, with `Accept: application/x-ndjson` or `text/event-stream`; the last line is the sandbox, or
/// the error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SetupEvent {
    /// There is a sandbox.
    Created {
        /// As it is now.
        sandbox: Box<Sandbox>,
    },
    /// The clone goes on.
    Clone {
        /// What `git.clone` says.
        event: TransferEvent,
    },
    /// The script goes on.
    Setup {
        /// What `exec` says.
        event: ExecEvent,
    },
}
