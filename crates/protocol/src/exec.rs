//! Running commands. One family, one event type: what a command prints, as it prints it, each byte numbered.

mod exit;
mod fold;
mod terminal;

pub use exit::{Exit, Usage};
pub use fold::{ExecOutput, OutputFold};
pub use terminal::{Cells, Tty};

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Data, Operation, ProcessId, Signal, Streaming};

/// How long a command may run that sets no `timeout_ms`, in milliseconds: 10 minutes.
pub const DEFAULT_TIMEOUT_MS: u64 = 600_000;

/// The longest `timeout_ms`: 24 hours.
pub const MAX_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1_000;

/// Bytes kept of stdout and of stderr each by a fold, where `max_output_bytes` is not set: 1 MiB.
pub const DEFAULT_OUTPUT_BYTES: u64 = 1 << 20;

/// The largest `max_output_bytes`: 16 MiB.
pub const MAX_OUTPUT_BYTES: u64 = 16 << 20;

/// Runs a command and reports what it prints and how it ends. A non-zero exit is a result, not an error.
///
/// Dropping the connection or sending `cancel` ends the whole process tree: first SIGTERM, then SIGKILL after the grace time.
///
/// Fails with `invalid_request` (empty command, NUL in an argument, limits passed), `not_found` (no such program, working
/// directory, user or session), `forbidden` (the agent may not become the user), `unprocessable` (the program cannot be executed),
/// `gone` (the session has ended), `too_many_requests` (too many processes, or commands that wait for one session).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Exec {
    /// A string is run by the shell (`bash -c`, or `sh -c` where there is no bash); an array is the exact argv.
    pub command: Command,
    /// Working directory; relative paths start at the sandbox's first root. Default: that root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables on top of the sandbox's; `null` unsets one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
    /// Who runs it: a user of the image by name or number, with that user's groups and with HOME, USER, LOGNAME and SHELL set.
    /// Default: the agent's `CABANA_USER`, or else whoever the agent runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What the command reads. Default: nothing, its stdin is at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Stdin>,
    /// Runs it on a terminal of this size, which is its session's controlling terminal: stdin, stdout and stderr are all of them
    /// the terminal, and what appears on it is reported as stdout. `stdin` may give what is typed first; inputs type more, and
    /// nobody closes a keyboard. TERM is xterm-256color unless `env` says otherwise. The terminal is hung up when the command has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Tty>,
    /// After this long the whole process tree is ended and the exit is `timed_out`. 1 to 86,400,000; default 600,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Answers as soon as it runs, with a result without an exit, and lets it run on: nobody's leaving ends it, and it has no time
    /// limit unless `timeout_ms` sets one. `process.attach` hears it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detach: bool,
    /// Makes the launch idempotent: while a process of this name is known, the same request finds it, from its first byte on,
    /// and another request is a `conflict`. 1 to 64 characters of `[A-Za-z0-9._-]`. Needs `detach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Runs the command in this session's shell, once those that came before it have ended, and leaves the session what it changes.
    /// An array is quoted for the shell, so that it may name a function or a builtin. `cwd` and `env` hold for this command only. A
    /// timeout or `cancel` ends what the command has started and skips the rest of it; time runs from its turn. Its exit is the
    /// shell's `$?`; what it leaves in the background lives on, unheard. Not with `user`, `tty` and `detach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How much of stdout and of stderr each the JSON form keeps: its first and last halves. At most 16 MiB; default 1 MiB.
    /// The streaming forms carry everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_bytes: Option<u64>,
}

impl Exec {
    /// This command, with every option at its default.
    pub fn new(command: impl Into<Command>) -> Self {
        Self {
            command: command.into(),
            cwd: None,
            env: BTreeMap::new(),
            user: None,
            stdin: None,
            tty: None,
            timeout_ms: None,
            detach: false,
            name: None,
            session: None,
            max_output_bytes: None,
        }
    }
}

impl Operation for Exec {
    const NAME: &'static str = "exec";
    type Response = ExecResult;

    fn summary(&self) -> String {
        self.command.to_string()
    }

    fn secrets(&self) -> Vec<&str> {
        self.env.values().flatten().map(String::as_str).collect()
    }

    fn bytes(&mut self) -> Option<&mut Data> {
        match &mut self.stdin {
            Some(Stdin::Bytes(bytes)) => Some(bytes),
            Some(Stdin::Live { .. }) | None => None,
        }
    }
}

impl Streaming for Exec {
    type Event = ExecEvent;
    type Input = ExecInput;
    type Fold = OutputFold;

    fn position(event: &ExecEvent) -> Option<u64> {
        event.end()
    }

    fn event_bytes(event: &mut ExecEvent) -> Option<&mut Data> {
        event.bytes()
    }

    fn input_bytes(input: &mut ExecInput) -> Option<&mut Data> {
        input.bytes()
    }
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "a string or an array of strings")]
pub enum Command {
    /// A script for the shell.
    Shell(String),
    /// A program and its arguments, passed on as they are.
    Argv(Vec<String>),
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(script) => formatter.write_str(script),
            Self::Argv(argv) => formatter.write_str(&argv.join(" ")),
        }
    }
}

impl From<&str> for Command {
    fn from(script: &str) -> Self {
        Self::Shell(script.to_owned())
    }
}

impl<const N: usize> From<[&str; N]> for Command {
    fn from(argv: [&str; N]) -> Self {
        Self::Argv(argv.map(str::to_owned).into())
    }
}

/// Where a command's input comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "a string, {\"base64\": \"…\"} or {\"stream\": true}")]
pub enum Stdin {
    /// These bytes, then the end.
    Bytes(Data),
    /// Inputs sent while it runs ([`ExecInput`]), where `stream` is true.
    Live {
        /// False is the same as no stdin.
        stream: bool,
    },
}

/// What a running command says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ExecEvent {
    /// It runs. Always the first event.
    Started {
        /// Its id, valid until the sandbox's next restart.
        process: ProcessId,
        /// The kernel's number for it inside the sandbox.
        pid: u32,
    },
    /// A piece of its standard output.
    Stdout {
        /// Number of the first byte: stdout and stderr share one count, from 0, in the order the agent read them.
        offset: u64,
        /// The piece.
        bytes: Data,
    },
    /// A piece of its standard error.
    Stderr {
        /// As for stdout.
        offset: u64,
        /// The piece.
        bytes: Data,
    },
    /// The bytes from `from` up to but not including `to` are no longer kept.
    Gap {
        /// First byte that is missing.
        from: u64,
        /// First byte that is there again.
        to: u64,
    },
}

impl ExecEvent {
    /// The offset of the byte after those that it tells of, where it tells of any.
    pub fn end(&self) -> Option<u64> {
        match self {
            Self::Started { .. } => None,
            Self::Stdout { offset, bytes } | Self::Stderr { offset, bytes } => Some(offset + bytes.0.len() as u64),
            Self::Gap { to, .. } => Some(*to),
        }
    }

    /// The bytes that it tells, where it tells any.
    pub fn bytes(&mut self) -> Option<&mut Data> {
        match self {
            Self::Stdout { bytes, .. } | Self::Stderr { bytes, .. } => Some(bytes),
            Self::Started { .. } | Self::Gap { .. } => None,
        }
    }
}

/// What a running command can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ExecInput {
    /// Bytes for its stdin, which must have been asked for as a stream or be a terminal: then they are keys, `\u0003` is ctrl-C.
    Stdin {
        /// The bytes.
        bytes: Data,
    },
    /// Its stdin is at its end. A terminal has none: ctrl-D is typed there, which is an end of file to what reads lines, at the
    /// beginning of one, and a key to everybody else.
    Eof,
    /// Its terminal has another size now; whoever is in its foreground hears of it by SIGWINCH. The last of several viewers to say
    /// so decides. Without a terminal nothing happens.
    Resize {
        /// Width.
        cols: Cells,
        /// Height.
        rows: Cells,
    },
    /// A signal for its process group.
    Signal {
        /// For instance `SIGINT`.
        signal: Signal,
    },
}

impl ExecInput {
    /// The bytes for its stdin.
    pub fn bytes(&mut self) -> Option<&mut Data> {
        match self {
            Self::Stdin { bytes } => Some(bytes),
            Self::Eof | Self::Resize { .. } | Self::Signal { .. } => None,
        }
    }
}

/// How a command ended. No event comes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecResult {
    /// Its id.
    pub process: ProcessId,
    /// How it ended; absent for a detached one, which runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// From start to end, or so far.
    pub duration_ms: u64,
    /// True when the session that it ran in has ended with it, by `exit` for instance; whatever comes later in that session is `gone`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub session_ended: bool,
    /// What it used, as the kernel counted; absent where the kernel was not there to tell, and for what runs in a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl ExecResult {
    /// True when it has ended, by itself, with code 0.
    pub fn success(&self) -> bool {
        self.exit.is_some_and(Exit::success)
    }
}
