//! How a process ended and what it used.

use serde::{Deserialize, Serialize};

use crate::Signal;

/// How a process ended. `exited` and `signalled` come only from the kernel's wait; the others say who ended it and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Exit {
    /// It returned from main or called exit; in a session, the command was done.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// A signal ended it.
    Signalled {
        /// Which one.
        signal: Signal,
    },
    /// It ran longer than its timeout and was ended, with all it started.
    TimedOut,
    /// The kernel ended it because the sandbox's memory was used up.
    OomKilled,
    /// The caller cancelled or went away, and it was ended with all it started.
    Cancelled,
    /// The agent or the container ended first; how the process ended is not known.
    Lost,
}

impl Exit {
    /// True for an exit with code 0.
    pub fn success(self) -> bool {
        self == Self::Exited { code: 0 }
    }
}

/// What a process and the children it waited for used, as the kernel counted (getrusage(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Usage {
    /// Processor time, user and system.
    pub cpu_ms: u64,
    /// The largest resident set of any one of them. Absent where it was no larger than the agent's own, some MiB, from which the
    /// kernel does not tell it apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
}
