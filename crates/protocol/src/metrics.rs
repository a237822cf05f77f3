//! What is measured of a sandbox.

use serde::{Deserialize, Serialize};

use crate::{
    SandboxId,
    sandbox::{State, Wakeups},
    system::Usage,
};

/// What `GET /v1/sandboxes/{id}/metrics` shows, as JSON. Requests are counted from when the sandbox was made; those that only look at it
/// (`GET /v1/sandboxes/{id}` and the like) are not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Metrics {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// Where it is in its life.
    pub state: State,
    /// Since when it runs, RFC 3339 in UTC; absent while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<String>,
    /// How many times it was started.
    pub starts: u64,
    /// What brought its Durable Object to work besides requests.
    pub wakeups: Wakeups,
    /// How many requests of each operation came to which outcome, as the audit has them.
    pub requests: Vec<RequestCount>,
    /// How many requests are under way, of those that take longer than a second or are answered by a stream.
    pub open_requests: u64,
    /// Bytes of requests' bodies.
    pub bytes_in: u64,
    /// Bytes of answers' bodies.
    pub bytes_out: u64,
    /// How long requests took, each to the end of its answer.
    pub durations: Histogram,
    /// What it uses, in the word of its agent; absent while it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// How many requests of an operation came to an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RequestCount {
    /// The operation; `other` for all that there are not.
    pub operation: String,
    /// The outcome.
    pub outcome: String,
    /// How many.
    pub count: u64,
}

/// How many took how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Histogram {
    /// Each counts all that the one before it counts.
    pub buckets: Vec<Bucket>,
    /// How many there are.
    pub count: u64,
    /// How long they took together, in milliseconds.
    pub sum_ms: u64,
}

/// How many took at most so long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bucket {
    /// So long, in milliseconds; absent: however long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub le_ms: Option<u64>,
    /// How many.
    pub count: u64,
}
