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
    /// Whether its files go with its container.
    #[serde(default)]
    pub ephemeral: bool,
    /// How often its files are saved while it is used, in milliseconds; `None`: only when its container ends.
    #[serde(default)]
    pub snapshot_every_ms: Option<u64>,
    /// How many snapshots its list keeps before the oldest is forgotten; `None`: none is, and a full list takes no more.
    #[serde(default)]
    pub keep_snapshots: Option<u32>,
    /// How long its list keeps a snapshot, in milliseconds; `None`: until it is deleted.
    #[serde(default)]
    pub keep_snapshots_ms: Option<u64>,
}

/// How the agent of a running container is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// How long a stream may be silent before it shows that its connection is alive.
    pub heartbeat: Duration,
    /// How long the agent may be silent while requests wait for it before it is asked for its health; it may take as long to answer that.
    pub probe_after: Duration,
    /// How long an answer of the agent vouches for it.
    pub trust: Duration,
    /// How long fresh connections to the agent must fail before the object is reset, and the agent taken for dead after that.
    pub dead_after: Duration,
    /// How long a call to the platform may take.
    pub platform_limit: Duration,
    /// How long a snapshot may take. The platform needs 6 to 12 s for some hundred megabytes.
    pub snapshot_limit: Duration,
}

impl Timings {
    /// What holds where nothing else is said.
    pub const DEFAULT: Self = Self {
        heartbeat: Duration::from_secs(5),
        probe_after: Duration::from_secs(10),
        trust: Duration::from_secs(5),
        dead_after: Duration::from_secs(60),
        platform_limit: Duration::from_secs(30),
        snapshot_limit: Duration::from_secs(180),
    };
}

impl Default for Timings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What holds for all sandboxes of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long a sandbox stays up while nobody asks anything, unless it has a time of its own.
    pub sleep_after: Duration,
    /// How long a start may take.
    pub start_limit: Duration,
    /// How its agent is watched.
    pub timings: Timings,
    /// Whether the platform takes snapshots of its containers.
    pub snapshots: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            sleep_after: Duration::from_mins(10),
            start_limit: Duration::from_mins(2),
            timings: Timings::default(),
            snapshots: false,
        }
    }
}
