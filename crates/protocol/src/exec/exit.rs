//! How a process ended and what it used.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Signal;

/// How a process ended. `exited` and `signalled` come only from the kernel's wait; the others say who ended it and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "Shown"))]
#[serde(tag = "type", rename_all = "snake_case", into = "Shown")]
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
    /// The caller cancelled it, ended it or went away, and it was ended with all it started.
    Cancelled,
    /// The agent or the container ended first, or something that it started does not end even by SIGKILL: how it ended is not known.
    Lost,
}

/// How a process ended: why, and a code as a shell would give it.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Exit"))]
#[serde(tag = "type", rename_all = "snake_case")]
enum Shown {
    /// It returned from main or called exit; in a session, the command was done.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// A signal ended it.
    Signalled {
        /// Which one.
        signal: Signal,
        /// 128 and the signal's number.
        code: i32,
    },
    /// It ran longer than its timeout and was ended, with all it started.
    TimedOut {
        /// 124, as timeout(1) has it.
        code: i32,
    },
    /// The kernel ended it because the sandbox's memory was used up.
    OomKilled {
        /// 137, that of SIGKILL.
        code: i32,
    },
    /// The caller cancelled it, ended it or went away, and it was ended with all it started.
    Cancelled {
        /// 143, that of SIGTERM.
        code: i32,
    },
    /// The agent or the container ended first, or something that it started does not end even by SIGKILL: how it ended is not known.
    Lost,
}

impl From<Exit> for Shown {
    fn from(exit: Exit) -> Self {
        let code = exit.code().unwrap_or_default();
        match exit {
            Exit::Exited { .. } => Self::Exited { code },
            Exit::Signalled { signal } => Self::Signalled { signal, code },
            Exit::TimedOut => Self::TimedOut { code },
            Exit::OomKilled => Self::OomKilled { code },
            Exit::Cancelled => Self::Cancelled { code },
            Exit::Lost => Self::Lost,
        }
    }
}

impl fmt::Display for Exit {
    /// As a sentence goes on: "exited with code 1".
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(formatter, "exited with code {code}"),
            Self::Signalled { signal } => write!(formatter, "ended by {signal}"),
            Self::TimedOut => formatter.write_str("ran out of time"),
            Self::OomKilled => formatter.write_str("ran out of memory"),
            Self::Cancelled => formatter.write_str("was cancelled"),
            Self::Lost => formatter.write_str("was lost with its container"),
        }
    }
}

impl Exit {
    /// What a shell would give as `$?`. `None` where how it ended is not known.
    pub fn code(self) -> Option<i32> {
        let killed_by = |signal: Signal| Some(128 + signal.number());
        match self {
            Self::Exited { code } => Some(code),
            Self::Signalled { signal } => killed_by(signal),
            Self::TimedOut => Some(124),
            Self::OomKilled => killed_by(Signal::KILL),
            Self::Cancelled => killed_by(Signal::TERM),
            Self::Lost => None,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_has_a_plain_code() {
        for (exit, json) in [
            (Exit::Exited { code: 3 }, r#"{"type":"exited","code":3}"#),
            (Exit::Signalled { signal: Signal::INT }, r#"{"type":"signalled","signal":"SIGINT","code":130}"#),
            (Exit::TimedOut, r#"{"type":"timed_out","code":124}"#),
            (Exit::OomKilled, r#"{"type":"oom_killed","code":137}"#),
            (Exit::Cancelled, r#"{"type":"cancelled","code":143}"#),
            (Exit::Lost, r#"{"type":"lost"}"#),
        ] {
            assert_eq!(serde_json::to_string(&exit).unwrap(), json);
            assert_eq!(serde_json::from_str::<Exit>(json).unwrap(), exit);
        }
    }
}
