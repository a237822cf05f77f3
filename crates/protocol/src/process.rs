//! Processes that run, or ran a while ago. [`Exec`](crate::exec::Exec) starts them.
//!
//! Each operation names its process by the id that `started` gave, or by the `name` it was started under. An id from before the
//! sandbox's last restart is `gone`; one that was never given, or whose record has been dropped, is `not_found`.

mod attach;
mod logs;
mod wait;

pub use attach::Attach;
pub use logs::{Log, Logs};
pub use wait::{ExitWord, Http, Until, Wait, Waited};

use serde::{Deserialize, Serialize};

use crate::{
    Data, Operation, ProcessId, Signal,
    exec::{Cells, Command, Exit, Tty, Usage},
    file::Done,
};

/// Lists the processes that were started by callers: those that run, and for a while those of them that were detached and have
/// ended. Sorted by their start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct List {
    /// Only those in this state. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ProcessState>,
}

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It runs.
    Running,
    /// It has ended, and is remembered.
    Ended,
}

impl Operation for List {
    const NAME: &'static str = "process.list";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    const ASLEEP: Option<&'static str> = Some(r#"{"items":[]}"#);
    type Response = Processes;
}

/// Some processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Processes {
    /// The processes.
    #[serde(rename = "items")]
    pub processes: Vec<Process>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Process {
    /// Its id.
    pub process: ProcessId,
    /// The name it was started under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kernel's number for it.
    pub pid: u32,
    /// Whether the next container starts it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
    /// What it runs; of a long command its beginning, some KiB, with `…` at the end.
    pub command: Command,
    /// The size of its terminal, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Tty>,
    /// When it was started, RFC 3339 in UTC.
    pub started_at: String,
    /// How many bytes it has printed on stdout and stderr together: the offset of the next one.
    pub output_bytes: u64,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// How long it ran, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// What it used, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Describes one process.
///
/// Fails with `not_found`, `gone`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Get {
    /// Its id or name.
    pub process: String,
}

impl Operation for Get {
    const NAME: &'static str = "process.get";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Process;

    fn summary(&self) -> String {
        self.process.clone()
    }
}

/// Writes to the stdin of a process that was started with `{"stream": true}`, or types on its terminal. Answers when the process may have them, so a process
/// that does not read holds up the answer.
///
/// Fails with `not_found`, `gone`, `conflict` (no such stdin, or closed), `payload_too_large` (over 1 MiB at once).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Input {
    /// Its id or name.
    pub process: String,
    /// What to write. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    /// Whether stdin is at its end after that; on a terminal, ctrl-D.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub eof: bool,
}

impl Operation for Input {
    const NAME: &'static str = "process.input";
    type Response = Done;

    fn summary(&self) -> String {
        self.process.clone()
    }

    fn bytes(&mut self) -> Option<&mut Data> {
        self.data.as_mut()
    }
}

/// Tells a process that its terminal has another size.
///
/// Fails with `not_found`, `gone`, `conflict` (it has no terminal, or has ended).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Resize {
    /// Its id or name.
    pub process: String,
    /// Width.
    pub cols: Cells,
    /// Height.
    pub rows: Cells,
}

impl Operation for Resize {
    const NAME: &'static str = "process.resize";
    const IDEMPOTENT: bool = true;
    type Response = Done;

    fn summary(&self) -> String {
        self.process.clone()
    }
}

/// Signals a process and everything it started, whatever group or session they have moved to.
///
/// Fails with `not_found`, `gone`, `conflict` (it has ended).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SendSignal {
    /// Its id or name.
    pub process: String,
    /// For instance `SIGTERM`.
    pub signal: Signal,
}

impl Operation for SendSignal {
    const NAME: &'static str = "process.signal";
    type Response = Done;

    fn summary(&self) -> String {
        format!("{} {}", self.signal, self.process)
    }
}

/// Ends a process, or all that run, with all that they have started: first SIGTERM, then SIGKILL after the grace time. Answers when all
/// of that is gone. Their exit is `cancelled`; that of one which had ended before is what it was.
///
/// Fails with `invalid_request` (not one of `process` and `all`), `not_found`, `gone`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct End {
    /// Its id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// All that run, also those for which somebody waits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Leaves those with `restart` to be started again in the next container. Default: they are not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_restarts: bool,
    /// How long they may take to end after SIGTERM, at most 600,000. Default: that of the image, `CABANA_KILL_GRACE_MS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

/// The longest `grace_ms`: 10 minutes.
pub const MAX_GRACE_MS: u64 = 600_000;

impl Operation for End {
    const NAME: &'static str = "process.end";
    const IDEMPOTENT: bool = true;
    type Response = Processes;

    fn summary(&self) -> String {
        self.process.clone().unwrap_or_else(|| "all".to_owned())
    }
}

/// Drops the record of a process that has ended, or of all that have, and frees their names.
///
/// Fails with `invalid_request` (not one of `process` and `ended`), `not_found`, `gone`, `conflict` (it runs: end it first).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Remove {
    /// Its id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// All that have ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

impl Remove {
    /// Drops the record of this process.
    pub fn one(process: impl Into<String>) -> Self {
        Self { process: Some(process.into()), ended: false }
    }
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Removed {
    /// How many.
    pub removed: u64,
}

impl Operation for Remove {
    const NAME: &'static str = "process.remove";
    type Response = Removed;

    fn summary(&self) -> String {
        self.process.clone().unwrap_or_else(|| "all that have ended".to_owned())
    }
}
