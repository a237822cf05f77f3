//! Processes that run, or ran a while ago. [`Exec`](crate::exec::Exec) starts them.
//!
//! Each operation names its process by the id that `started` gave, or by the `name` it was started under. An id from before the
//! sandbox's last restart is `gone`; one that was never given, or whose record has been dropped, is `not_found`.

mod attach;
mod logs;
mod wait;

pub use attach::Attach;
pub use logs::{Log, Logs};
pub use wait::{Http, Pattern, Until, Wait, Waited};

use serde::{Deserialize, Serialize};

use crate::{
    Data, Operation, ProcessId, Signal,
    exec::{Cells, Command, Exit, Usage},
    file::Done,
};

/// Lists the processes that were started by callers: those that run, and for a while those of them that were detached and have
/// ended. Sorted by their start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct List {}

impl Operation for List {
    const NAME: &'static str = "process.list";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    const ASLEEP: Option<&'static str> = Some(r#"{"processes":[]}"#);
    type Response = Processes;
}

/// Some processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Processes {
    /// The processes.
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
    /// What it runs.
    pub command: Command,
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

/// Drops the record of a process that has ended, and frees its name.
///
/// Fails with `not_found`, `gone`, `conflict` (it runs: signal it first).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Remove {
    /// Its id or name.
    pub process: String,
}

impl Operation for Remove {
    const NAME: &'static str = "process.remove";
    type Response = Done;

    fn summary(&self) -> String {
        self.process.clone()
    }
}
