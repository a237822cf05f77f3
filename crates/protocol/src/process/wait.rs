//! `process.wait`.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Data, Operation, exec::Exit, union::text_or_object};

/// Waits for something to happen to a process.
///
/// Fails with `not_found`, `gone`, `timeout` (`details.output` is the end of what it has printed, at most 4 KiB), `invalid_request` (a pattern that is no regular expression, a path or status that HTTP does
/// not have, `from` past what has been printed).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Wait {
    /// Its id or name.
    pub process: String,
    /// For what.
    pub until: Until,
    /// For `log` and `regex`: the first byte of output that counts, such as the `to` of an earlier answer. Default: 0, the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
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

/// What to wait for: `"exit"`, or an object with one of `port`, `log` and `regex`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Until {
    /// Its end.
    Exit(ExitWord),
    /// A port of the sandbox that accepts connections on a loopback address.
    Port {
        /// 1 to 65535.
        port: u16,
        /// Waits further until it answers a GET over HTTP/1.1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        http: Option<Http>,
    },
    /// A line of its output that holds this text. A line without its line break, such as a prompt, counts as it is once nothing has
    /// followed it for 100 ms.
    Log {
        /// The text.
        log: String,
    },
    /// A line of its output with a match of this regular expression, in the syntax of <https://docs.rs/regex>. Prompts count as for `log`.
    Regex {
        /// The expression.
        regex: String,
    },
}

/// The word for the end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExitWord {
    /// It ends.
    Exit,
}

impl Until {
    /// Its end.
    pub const EXIT: Self = Self::Exit(ExitWord::Exit);
}

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            port: Option<u16>,
            http: Option<Http>,
            log: Option<String>,
            regex: Option<String>,
        }
        let object = |fields: Fields| match fields {
            Fields { port: Some(port), http, log: None, regex: None } => Some(Self::Port { port, http }),
            Fields { port: None, http: None, log: Some(log), regex: None } => Some(Self::Log { log }),
            Fields { port: None, http: None, log: None, regex: Some(regex) } => Some(Self::Regex { regex }),
            _ => None,
        };
        let takes = "\"exit\", {\"port\": 3000}, {\"log\": \"text\"} or {\"regex\": \"…\"}";
        text_or_object(deserializer, takes, |text| (text == "exit").then_some(Self::EXIT), object)
    }
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

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
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
        /// The offset of the byte after it, at which a later wait may begin.
        #[serde(default)]
        to: u64,
        /// What the groups of the regular expression matched, from the first one on; null for one that took no part.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        groups: Vec<Option<Data>>,
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
