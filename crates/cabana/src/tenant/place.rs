//! The places that a tenant has, and what its Durable Object is asked about them.

use serde::{Deserialize, Serialize};

/// What places are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// A sandbox that exists.
    Sandbox,
    /// One that has a container.
    Running,
    /// A snapshot in the list of a sandbox.
    Snapshot,
}

/// What the object is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) place: Place,
    /// True to take it, false to give it back.
    pub(crate) take: bool,
    pub(crate) holder: Holder,
}

/// Who has a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The name of the sandbox's object; of a snapshot, with its id after a blank.
    pub(crate) sandbox: String,
    /// The binding that leads to it.
    pub(crate) binding: String,
    /// What it counts its calls by: it may take a place again before the word arrives that it has given it back.
    pub(crate) stamp: u64,
}
