//! `process.wait`.

use serde::{Deserialize, Serialize};

use crate::{Data, Operation, exec::Exit};

/// Waits for something to happen to a process.
///
/// Fails with `not_found`, `gone`, `timeout`, `invalid_request` (a pattern that is no regular expression, a path or status that HTTP does not have).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Wait {
    /// Its id or name.
    pub process: String,
    /// For what.
    pub until: Until,
    /// How long at most, 1 to 86,400,000. Default: 600,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl Operation for Wait {
    const NAME: &'static str = "process.wait";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Waited;

    fn summary(&self) -> String {
        self.process.clone()
    }
}

/// What to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Its end.
    Exit {},
    /// A line of its output, old output that is still kept included.
    Log(Pattern),
    /// A port of the sandbox that accepts connections on 127.0.0.1.
    Port {
        /// 1 to 65535.
        port: u16,
        /// Waits further until it answers a GET over HTTP/1.1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        http: Option<Http>,
    },
}

/// Which answer over HTTP to wait for. One that takes longer than 5 s does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Http {
    /// The path, with its query, at most 2,048 bytes. Default: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The first and the last status that will do. Default: `[200, 399]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<[u16; 2]>,
}

/// What a line holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// This text.
    Text(String),
    /// A match of this regular expression, in the syntax of <https://docs.rs/regex>.
    Regex(String),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "happened", rename_all = "snake_case")]
pub enum Waited {
    /// It has ended, which may not be what was waited for.
    Exited {
        /// How.
        exit: Exit,
    },
    /// It printed a line that matches.
    Logged {
        /// The line, without its line break.
        line: Data,
    },
    /// The port accepts connections, and answers as it should.
    Listening {
        /// The port.
        port: u16,
        /// The status of its answer, where one was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
}
