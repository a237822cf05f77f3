//! Processes that callers start. Each is owned by one task ([`owner`]), which alone reads it, signals it and waits for it;
//! all other code holds a handle and sends messages to that task.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`spawn`] | from a [`Command`] to a running child |
//! | [`owner`] | the task: output, input, timeout, end |
//! | [`pipes`] | a child's stdout and stderr as numbered chunks |
//! | [`feed`] | a child's stdin |
//! | [`terminal`] | a child's pseudo-terminal |
//! | [`users`] | whom a child may run as |
//! | [`journal`] | what a process printed, numbered, for any number of readers |
//! | [`exited`] | how a child ended, from the kernel |
//! | [`processes`] | all of them: starting, finding, ending |
//! | [`place`] | the place of one among those that run |
//! | [`table`] | the processes that are known |
//! | [`handlers`] | the operations on them |
//! | [`logs`] | a page of what one has printed |
//! | [`condition`] | waiting for something to happen to one |
//! | [`tree`] | everything a child started, and how to end it |
//! | [`mod@proc`] | what `/proc` says of processes |
//! | [`kill`] | sending signals |
//! | [`precedence`] | the agent before what it starts |
//! | [`shell`] | a session's shell, as a process |
//! | [`oom`] | whether the kernel has killed for want of memory |
//! | [`image_command`] | the image's own command, beside the agent |
//! | [`origins`] | who descends from which of them |
//! | [`orphans`] | children of children that nobody waits for |

mod condition;
mod exited;
mod feed;
mod handlers;
mod image_command;
mod journal;
mod kill;
mod logs;
mod oom;
mod origins;
mod orphans;
mod owner;
mod pipes;
mod place;
mod precedence;
mod proc;
mod processes;
mod shell;
mod spawn;
mod table;
mod terminal;
pub(crate) mod tree;
mod users;

/// What fuzzing calls.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz {
    pub use super::{journal::fuzz::journal, proc::fuzz::stat};
}

pub(crate) use feed::Feed;
pub use image_command::ImageCommand;
pub use journal::{Entry, Journal, Reader};
pub use origins::Origins;
pub use orphans::adopt_orphans;
pub(crate) use pipes::Pipes;
pub use pipes::{Chunk, Stream};
pub(crate) use place::Place;
pub use precedence::go_first;
pub use processes::Processes;
pub(crate) use shell::Shell;
pub use spawn::keep_descriptors;
pub use table::Record;
pub(crate) use tree::Members;
pub use tree::start as start_tree_thread;
pub use users::Identity;

use std::{collections::BTreeMap, ffi::OsString, os::fd::OwnedFd, path::PathBuf, time::Duration};

use bytes::Bytes;
use cabana_protocol::{Signal, exec::Tty};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes that may wait to be written to a process's stdin.
const STDIN_BYTES: usize = 1 << 20;

/// What to start. Everything in it has been checked.
#[derive(Debug)]
pub struct Command {
    /// The program's absolute path.
    pub program: PathBuf,
    /// The argument vector, the program's name as the caller wrote it first.
    pub argv: Vec<String>,
    /// Working directory, absolute.
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Whom it runs as, if not the agent's own user.
    pub user: Option<Identity>,
    /// What it reads.
    pub stdin: Stdin,
    /// A descriptor that it has besides the three streams, under the number that it has here. Not on a terminal.
    pub inherited: Option<OwnedFd>,
    /// The size of the terminal that it runs on, if on one: then what it reads is typed, and the keyboard stays.
    pub terminal: Option<Tty>,
    /// How long it may run, if there is a limit.
    pub timeout: Option<Duration>,
}

/// What a process reads.
#[derive(Debug)]
pub enum Stdin {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// What [`Input`]s bring.
    Live,
}

/// What a process can be told.
#[derive(Debug)]
pub enum Input {
    /// Bytes for its live stdin, and the room that they take until they are written.
    Stdin(Bytes, OwnedSemaphorePermit),
    /// Its live stdin is at its end; on a terminal, ctrl-D.
    Eof,
    /// Its terminal's size.
    Resize(Tty),
    /// A signal for its process group.
    Signal(Signal),
    /// A signal for everything it started.
    SignalTree(Signal),
}

/// A process that runs for a caller who waits for it. Dropping this ends the process with all it started.
#[derive(Debug)]
pub struct Attended {
    /// What it prints and how it ends; the process waits for this reader.
    pub output: Reader,
    /// Tells it something.
    pub inputs: mpsc::Sender<Input>,
    _cancel: DropGuard,
}

impl Attended {
    /// Whoever holds this reads `output`; `cancel` is set when this is dropped.
    pub(crate) fn new(record: &Record, output: Reader, cancel: CancellationToken) -> Self {
        Self { output, inputs: record.inputs.clone(), _cancel: cancel.drop_guard() }
    }
}
