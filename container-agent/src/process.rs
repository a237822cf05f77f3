//! Processes that callers start. Each is owned by one task, its [`Supervisor`](supervisor), which alone reads it, signals it and waits
//! for it. All other code holds a [`Process`] and sends messages to that task.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`exec`] | the operation that starts one |
//! | [`handlers`] | the operations on them |
//! | [`attendance`] | what becomes of one without its caller |
//! | [`command`] | from a request to a [`Command`], which can be started |
//! | [`registry`] | all processes: starting, finding, ending |
//! | [`child`] | a child of the agent and its standard streams |
//! | [`supervisor`] | the task that owns one, and process trees |
//! | [`journal`] | what a process printed, numbered, for any number of readers |
//! | [`logs`] | a page of that |
//! | [`mod@wait`] | waiting for an exit, a line of output, or a port |
//! | [`restarts`] | what the next container starts again |
//! | [`screen`] | what a terminal shows, for a client that attaches late |
//! | [`shell`] | a session's shell, as a process |
//! | [`image_command`] | the image's own command |

mod attendance;
pub(crate) mod child;
pub(crate) mod command;
mod exec;
mod handlers;
mod image_command;
mod journal;
mod logs;
mod registry;
mod restarts;
mod screen;
mod shell;
pub(crate) mod supervisor;
mod wait;

/// What fuzzing calls.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz {
    pub use super::{journal::fuzz::journal, supervisor::tree::proc::fuzz::stat};
}

pub(crate) use attendance::Attendance;
pub use child::{Chunk, Identity, KeptCapabilities, Stream, block_child_signal, keep_descriptors, note_signals, raise_self};
pub(crate) use child::{Inherited, Pipes, StdinWriter, Stdio};
pub use command::{Command, Stdin};
pub(crate) use exec::{check_name, start_again};
pub use image_command::ImageCommand;
pub use journal::{Entry, Journal, Reader};
pub use registry::{Process, Processes};
pub(crate) use registry::{TableGuard, draw};
use restarts::Restarts;
pub(crate) use shell::Shell;
pub(crate) use supervisor::{
    Audience, Outcome, Supervisor, SupervisorContext, Target, TreeEnd,
    tree::{self, Members, proc::descriptors},
};
pub use supervisor::{
    reaper::adopt_orphans,
    tree::{Origins, start as start_tree_thread},
};

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cabana_protocol::{Signal, exec::Tty};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::DropGuard;

/// Bytes that may wait to be written to a process's stdin.
const STDIN_BYTES: usize = 1 << 20;

/// What a process can be told.
#[derive(Debug)]
pub enum Input {
    /// Bytes for its live stdin, and the room that they take until they are written.
    Stdin(Bytes, OwnedSemaphorePermit),
    /// Its live stdin is at its end; on a terminal, ctrl-D.
    Eof,
    /// Its terminal's size.
    Resize(Tty),
    /// It is to end with all it started; where a grace time is given, this one holds.
    End(Option<Duration>),
    /// A signal for its process group.
    Signal(Signal),
    /// A signal for everything it started.
    SignalTree(Signal),
}

/// A process that runs for a caller who waits for it. Dropping this ends the process with all it started, unless the caller may return.
#[derive(Debug)]
pub struct Foreground {
    /// What is known of it.
    pub process: Arc<Process>,
    /// What it prints and how it ends; the process waits for this reader.
    pub output: Reader,
    _ends: Option<DropGuard>,
}

impl Foreground {
    fn new(process: Arc<Process>, output: Reader, ends: Option<DropGuard>) -> Self {
        Self { process, output, _ends: ends }
    }

    /// Tells it something.
    pub(crate) fn inputs(&self) -> &mpsc::Sender<Input> {
        &self.process.inputs
    }
}
