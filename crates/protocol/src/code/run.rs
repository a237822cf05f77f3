//! Running one cell.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Bundle, fold::CodeFold};
use crate::{Operation, Streaming, exec::Exit};

/// Runs code in a context and reports what it shows as it shows it. The value of the last expression comes back by itself.
///
/// Cells of one context run one after another, in the order in which they came. An exception is a result, not an error.
///
/// `timeout_ms`, `cancel` and a dropped connection interrupt the cell. A kernel that does not react within the grace time is ended, and its
/// variables with it: `state_kept` says which.
///
/// Fails with `invalid_request`, `payload_too_large` (more than 1 MiB of code), `not_found` (no such context), `gone` (the context has
/// ended), `conflict` (its kernel has ended: restart it), `unprocessable` (no kernel for the language is installed, or it does not start), `too_many_requests`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Run {
    /// The cell, at most 1 MiB.
    pub code: String,
    /// The context, by its id or name. Default: the language's own, which the first run makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The language, where no context is named. Default: `python`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// After this long, from the cell's turn on, it is interrupted. 1 to 86,400,000; default 600,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Variables that are set in the kernel before the cell, and stay set; `null` unsets one. In a language other than Python,
    /// JavaScript and TypeScript only for a cell that makes its context.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
    /// The directory that the kernel changes to before the cell, and stays in; a relative path starts at the sandbox's first root. Likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

impl Run {
    /// A cell in the context that Python has by default.
    pub fn new(code: impl Into<String>) -> Self {
        Self { code: code.into(), ..Self::default() }
    }
}

impl Operation for Run {
    const NAME: &'static str = "code.run";
    type Response = RunResult;

    fn summary(&self) -> String {
        self.code.clone()
    }

    fn secrets(&self) -> Vec<&str> {
        self.env.values().flatten().map(String::as_str).collect()
    }
}

impl Streaming for Run {
    type Event = RunEvent;
    type Input = RunInput;
    type Fold = CodeFold;
}

/// What a cell says while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunEvent {
    /// Its turn has come. Always the first event.
    Started {
        /// The context that it runs in.
        context: String,
        /// The context's language.
        language: String,
        /// True when this run has made the context: nothing of earlier cells is there.
        created: bool,
    },
    /// The kernel has begun.
    Executing {
        /// The cell's number, from 1 at the kernel's start.
        execution_count: u32,
    },
    /// A piece of its standard output.
    Stdout {
        /// The piece.
        text: String,
    },
    /// A piece of its standard error.
    Stderr {
        /// The piece.
        text: String,
    },
    /// The value of its last expression.
    Value {
        /// The value.
        data: Bundle,
        /// What the kernel says of it.
        #[serde(default, skip_serializing_if = "Bundle::is_empty")]
        metadata: Bundle,
    },
    /// Something to show.
    Display {
        /// By what later updates name it, where the kernel says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display_id: Option<String>,
        /// What.
        data: Bundle,
        /// What the kernel says of it.
        #[serde(default, skip_serializing_if = "Bundle::is_empty")]
        metadata: Bundle,
    },
    /// What was shown under this name, also by earlier cells, looks like this now.
    Update {
        /// Which.
        display_id: String,
        /// What.
        data: Bundle,
        /// What the kernel says of it.
        #[serde(default, skip_serializing_if = "Bundle::is_empty")]
        metadata: Bundle,
    },
    /// All that this cell has shown and printed so far goes.
    Clear {
        /// Only when the next thing is shown.
        wait: bool,
    },
    /// The code waits for a line of text: an input answers it.
    InputRequest {
        /// What it asks.
        prompt: String,
        /// Whether the answer is not to be shown.
        password: bool,
    },
    /// The code has failed.
    Failed {
        /// The name of the exception.
        name: String,
        /// What it says.
        value: String,
        /// Where it happened, without colors.
        traceback: Vec<String>,
    },
    /// Output that was left out: it came faster than it was read, or was too large for one event.
    Omitted {
        /// How much, about.
        bytes: u64,
    },
}

/// What a running cell can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunInput {
    /// The answer to its last `input_request`.
    Reply {
        /// The line, without its end.
        text: String,
    },
}

impl<'de> Deserialize<'de> for RunInput {
    // serde's tagged enums forget which field was wrong.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Kind {
            Reply,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(rename = "type")]
            kind: Kind,
            text: Option<String>,
        }
        let Fields { kind: Kind::Reply, text } = Fields::deserialize(deserializer)?;
        Ok(Self::Reply { text: text.ok_or_else(|| de::Error::missing_field("text"))? })
    }
}

/// How a cell ended. No event comes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunResult {
    /// The context that it ran in.
    pub context: String,
    /// How it ended.
    pub status: RunStatus,
    /// Whether the context's variables are still there.
    pub state_kept: bool,
    /// The cell's number, from 1 at the kernel's start; absent where the kernel has not begun it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_count: Option<u32>,
    /// How the kernel ended, where it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// From its turn to its end.
    pub duration_ms: u64,
}

/// How a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// By itself.
    Ok,
    /// With an exception.
    Error,
    /// By `code.interrupt`.
    Interrupted,
    /// Its time was up.
    TimedOut,
    /// Its caller did not want it any more, or its context was restarted or deleted.
    Cancelled,
    /// Its kernel has ended: `exit` says how.
    KernelDied,
}
