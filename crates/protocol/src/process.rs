//! Processes that run, or ran a while ago. [`Exec`](crate::exec::Exec) starts them.
//!
//! Each operation names its process by the id that `started` gave, or by the `name` it was started under. An id from before the
//! sandbox's last restart is `gone`; one that was never given, or whose record has been dropped, is `not_found`.

use serde::{Deserialize, Serialize};

use crate::{
    Data, Operation, ProcessId, Signal, Streaming,
    exec::{Cells, Command, Exec, ExecEvent, ExecInput, ExecResult, Exit, OutputFold, Usage},
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

/// Listens to a process: what it has printed since `from`, as far as that is kept, and what it prints until it ends.
///
/// Of a process that was detached the newest MiB is kept in memory and, where the sandbox has a disk to write to, 64 MiB more on
/// it; on a terminal the newest 256 KiB. It stays for as long as the process is known, unless others print so much that all
/// together keep more than 32 MiB in memory or 512 MiB on disk: then whoever keeps most gives up its oldest. Of a process that
/// somebody waits for, a listener hears what is printed from now on. What is not kept is reported as a `gap`, and so is what a slow
/// listener misses: he holds up nobody. Listening ends with the connection, and the process does not. The events and the result are
/// those of `exec`.
///
/// As server-sent events each piece has an id, the offset of the byte after it, and a request with that id in `Last-Event-ID`
/// goes on from there.
///
/// Fails with `not_found`, `gone`, `invalid_request` (`from` is past what has been printed, which `details.output_bytes` tells).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attach {
    /// Its id or name.
    pub process: String,
    /// The first byte to hear. Default: 0, the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
}

impl Operation for Attach {
    const NAME: &'static str = "process.attach";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = ExecResult;

    fn summary(&self) -> String {
        self.process.clone()
    }
}

impl Streaming for Attach {
    type Event = ExecEvent;
    type Input = ExecInput;
    type Fold = OutputFold;

    fn position(event: &ExecEvent) -> Option<u64> {
        event.end()
    }

    fn resume(self, position: u64) -> Option<Self> {
        Some(Self { from: Some(position), ..self })
    }
}

impl crate::Fold<Attach> for OutputFold {
    type Output = crate::exec::ExecOutput;

    fn new(_: &Attach) -> Self {
        Self::default()
    }

    fn push(&mut self, event: ExecEvent) {
        crate::Fold::<Exec>::push(self, event);
    }

    fn finish(self, result: ExecResult) -> Self::Output {
        crate::Fold::<Exec>::finish(self, result)
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

/// A page of what a process has printed, as far as it is kept, without waiting for more. What is kept, `process.attach` says.
///
/// The answer's `to` is the next page's `from`; there is none when it is `output_bytes`.
///
/// Fails with `not_found`, `gone`, `invalid_request` (`from` is past what has been printed, `max_bytes` over its limit).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Logs {
    /// Its id or name.
    pub process: String,
    /// The first byte wanted. Default: the first that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Most bytes of stdout and stderr together. At most 16 MiB; default 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

impl Operation for Logs {
    const NAME: &'static str = "process.logs";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Log;

    fn summary(&self) -> String {
        self.process.clone()
    }
}

/// A part of what a process printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Log {
    /// The first byte of this part, later than the one wanted where that is no longer kept.
    pub from: u64,
    /// The byte after the last: go on from here.
    pub to: u64,
    /// How many bytes the process has printed so far. Where `to` is less there is more to read.
    pub output_bytes: u64,
    /// What of it went to stdout.
    pub stdout: Data,
    /// What of it went to stderr.
    pub stderr: Data,
    /// How the process ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
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
