//! What a sandbox's owner wants of its life, and what the deployment says where the owner says nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a sandbox's owner wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How long it stays up while nobody asks anything, in milliseconds; `None`: as long as [`Rules::sleep_after`] says.
    pub sleep_after_ms: Option<u64>,
    /// Whether it stays up all the same.
    pub keep_alive: bool,
    /// How long after it was made it is destroyed, in milliseconds; `None`: never.
    pub max_lifetime_ms: Option<u64>,
}

/// What holds for all sandboxes of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long a sandbox stays up while nobody asks anything, unless it has a time of its own.
    pub sleep_after: Duration,
    /// How long a start may take.
    pub start_limit: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { sleep_after: Duration::from_mins(10), start_limit: Duration::from_mins(2) }
    }
}
