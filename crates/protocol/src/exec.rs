//! Running commands. One family, one event type: what a command prints, as it prints it, each byte numbered.

mod exit;
mod fold;
mod terminal;

pub use exit::{Exit, Usage};
pub(crate) use fold::Ends;
pub use fold::{ExecOutput, OutputFold, omission};
pub use terminal::{Cells, Tty};

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Data, Operation, ProcessId, Signal, Streaming, file::FilePath, union::text_or_object};

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
/// Fails with `invalid_request` (blank command, NUL in an argument, limits passed), `not_found` (no such program, working
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
    /// What the command reads. Default: nothing, its stdin is at its end. Over HTTP it may be the body of the request, as it comes: the body
    /// is then `application/octet-stream`, and the request is the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Stdin>,
    /// `"stdout"` gives it one pipe for stdout and stderr: all of its output is reported as stdout, in the order in which it was printed.
    /// Default: a pipe for each, between which the order may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<Stderr>,
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
    /// Waits so long for the end of a detached command, up to 24 hours, and reports what it prints meanwhile. One that has ended by then is a
    /// result like any other, and its record is dropped unless it has a `name`. One that still runs is a result without an exit: it runs on, and
    /// `process.attach` goes on where that left off, from `stdout_bytes` and `stderr_bytes` together. Default: 0, the answer does not wait. Needs
    /// `detach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Makes the launch idempotent: while a process of this name is known, the same request finds it, from its first byte on,
    /// and another request is a `conflict`. 1 to 64 characters of `[A-Za-z0-9._-]`. Needs `detach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Starts the process again in each later container, before the first request reaches it: with this request's command, variables, directory
    /// and user. That ends when the process ends by itself, or by `process.end` or `process.signal`. What is needed for it is kept among
    /// the sandbox's files, at most 1 MiB, and goes into its snapshots, forks included. Needs `detach` and `name`; not with `session`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
    /// Runs the command in the shell of this session, by its id or name, once those that came before it have ended, and leaves the session what it changes.
    /// An array is quoted for the shell, so that it may name a function or a builtin. `cwd` and `env` hold for this command only. A
    /// timeout or `cancel` ends what the command has started and skips the rest of it; time runs from its turn. Its exit is the
    /// shell's `$?`; what it leaves in the background lives on, unheard. Not with `user`.
    ///
    /// With `detach` or `tty` the command is a process of its own, which starts with the session's directory, exported variables and user
    /// once the session's turn has come, and changes nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Makes the session, by its name and with all defaults, where there is none. Default: false, and the command is `not_found`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create_session: bool,
    /// How much of stdout and of stderr each the JSON form keeps: its first and last halves, with a line between them that says how much
    /// was left out. At most 16 MiB; default 1 MiB. It keeps less
    /// where that would take more than twice as much in JSON, and more than 6 MiB (control characters take six bytes each), and where the
    /// sandbox is short of memory; `truncated` says so. The streaming forms carry everything.
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
            stderr: None,
            tty: None,
            timeout_ms: None,
            detach: false,
            wait_ms: None,
            name: None,
            restart: false,
            session: None,
            create_session: false,
            max_output_bytes: None,
        }
    }
}

impl<C: Into<Command>> From<C> for Exec {
    fn from(command: C) -> Self {
        Self::new(command)
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
            Some(Stdin::Live { .. } | Stdin::File { .. }) | None => None,
        }
    }
}

impl Streaming for Exec {
    type Event = ExecEvent;
    type Input = ExecInput;
    type Fold = OutputFold;
    const RAW: bool = true;

    fn raw(event: &ExecEvent) -> Option<&Bytes> {
        event.stdout()
    }

    fn is_gap(event: &ExecEvent) -> bool {
        matches!(event, ExecEvent::Gap { .. })
    }

    fn gap(from: u64, to: u64) -> Option<ExecEvent> {
        Some(ExecEvent::Gap { from, to })
    }

    fn position(event: &ExecEvent) -> Option<u64> {
        event.end()
    }

    fn process(event: &ExecEvent) -> Option<&ProcessId> {
        event.process()
    }

    fn event_bytes(event: &mut ExecEvent) -> Option<&mut Data> {
        event.bytes()
    }

    fn input_bytes(input: &mut ExecInput) -> Option<&mut Data> {
        input.bytes()
    }

    fn fed(mut self) -> Option<(Self, fn(Bytes) -> ExecInput)> {
        // Of two inputs one would be lost.
        (self.stdin.is_none() && self.tty.is_none()).then(|| {
            self.stdin = Some(Stdin::Live { stream: true });
            let say: fn(Bytes) -> ExecInput = |bytes| ExecInput::Stdin { bytes: Data(bytes) };
            (self, say)
        })
    }
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "takes a string or an array of strings")]
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

impl From<String> for Command {
    fn from(script: String) -> Self {
        Self::Shell(script)
    }
}

impl From<Vec<String>> for Command {
    fn from(argv: Vec<String>) -> Self {
        Self::Argv(argv)
    }
}

impl<const N: usize> From<[&str; N]> for Command {
    fn from(argv: [&str; N]) -> Self {
        Self::Argv(argv.map(str::to_owned).into())
    }
}

/// Where a command's input comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Stdin {
    /// These bytes, then the end.
    Bytes(Data),
    /// Inputs sent while it runs ([`ExecInput`]), where `stream` is true.
    Live {
        /// False is the same as no stdin.
        stream: bool,
    },
    /// A file of the sandbox, of any size, which the command reads itself from its beginning. Not with `tty`, and not with `session`, whose
    /// shell has `<`.
    File {
        /// Its path below one of the sandbox's roots; a relative one starts at the first.
        path: FilePath,
    },
}

impl<'de> Deserialize<'de> for Stdin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            base64: Option<String>,
            stream: Option<bool>,
            path: Option<FilePath>,
        }
        let object = |fields: Fields| match fields {
            Fields { base64: Some(base64), stream: None, path: None } => Data::decode(base64.as_bytes()).map(Self::Bytes),
            Fields { base64: None, stream: Some(stream), path: None } => Some(Self::Live { stream }),
            Fields { base64: None, stream: None, path: Some(path) } => Some(Self::File { path }),
            _ => None,
        };
        let takes = "a string, {\"base64\": \"…\"}, {\"stream\": true} or {\"path\": \"…\"}";
        text_or_object(deserializer, takes, |text| Some(Self::Bytes(text.as_str().into())), object)
    }
}

/// Where a command's stderr goes, if not to a pipe of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stderr {
    /// Where its stdout goes.
    Stdout,
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
    /// What a terminal shows, for a client of `process.attach` that asks for it: these bytes paint it on an empty terminal of this size. Counts
    /// as no output.
    Screen {
        /// The offset of the output that comes next.
        offset: u64,
        /// The width of the terminal.
        cols: Cells,
        /// Its height.
        rows: Cells,
        /// What paints it, and sets the terminal's modes.
        bytes: Data,
    },
}

impl ExecEvent {
    /// The process that has started.
    pub fn process(&self) -> Option<&ProcessId> {
        match self {
            Self::Started { process, .. } => Some(process),
            Self::Stdout { .. } | Self::Stderr { .. } | Self::Gap { .. } | Self::Screen { .. } => None,
        }
    }

    /// The offset of the byte after those that it tells of, where it tells of any.
    pub fn end(&self) -> Option<u64> {
        match self {
            Self::Started { .. } => None,
            Self::Stdout { offset, bytes } | Self::Stderr { offset, bytes } => Some(offset + bytes.0.len() as u64),
            Self::Gap { to, .. } => Some(*to),
            Self::Screen { offset, .. } => Some(*offset),
        }
    }

    /// The bytes of stdout in it, or of the screen.
    pub fn stdout(&self) -> Option<&Bytes> {
        match self {
            Self::Stdout { bytes, .. } | Self::Screen { bytes, .. } => Some(&bytes.0),
            Self::Started { .. } | Self::Stderr { .. } | Self::Gap { .. } => None,
        }
    }

    /// The bytes that it tells, where it tells any.
    pub fn bytes(&mut self) -> Option<&mut Data> {
        match self {
            Self::Stdout { bytes, .. } | Self::Stderr { bytes, .. } | Self::Screen { bytes, .. } => Some(bytes),
            Self::Started { .. } | Self::Gap { .. } => None,
        }
    }
}

/// What a running command can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

impl<'de> Deserialize<'de> for ExecInput {
    // serde's tagged enums forget which field was wrong.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Kind {
            Stdin,
            Eof,
            Resize,
            Signal,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(rename = "type")]
            kind: Kind,
            bytes: Option<Data>,
            cols: Option<Cells>,
            rows: Option<Cells>,
            signal: Option<Signal>,
        }
        let Fields { kind, bytes, cols, rows, signal } = Fields::deserialize(deserializer)?;
        let known: &[&str] = match kind {
            Kind::Stdin => &["bytes"],
            Kind::Eof => &[],
            Kind::Resize => &["cols", "rows"],
            Kind::Signal => &["signal"],
        };
        let given =
            [("bytes", bytes.is_some()), ("cols", cols.is_some()), ("rows", rows.is_some()), ("signal", signal.is_some())];
        if let Some((field, _)) = given.iter().find(|(field, given)| *given && !known.contains(field)) {
            return Err(de::Error::unknown_field(field, known));
        }
        let missing = de::Error::missing_field;
        Ok(match kind {
            Kind::Stdin => Self::Stdin { bytes: bytes.ok_or_else(|| missing("bytes"))? },
            Kind::Eof => Self::Eof,
            Kind::Resize => {
                Self::Resize { cols: cols.ok_or_else(|| missing("cols"))?, rows: rows.ok_or_else(|| missing("rows"))? }
            }
            Kind::Signal => Self::Signal { signal: signal.ok_or_else(|| missing("signal"))? },
        })
    }
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
    /// The kernel's number for it, of a detached one, which runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
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
