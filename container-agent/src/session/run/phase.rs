//! How far a session's command has come, and what can happen to it.

use std::pin::Pin;

use cabana_protocol::exec::Exit;
use tokio::time::Instant;

use super::super::{line::Report, recovery::Recovery};
use crate::process::{Chunk, Input};

/// Something that is under way.
pub(super) type Pending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How far a command has come.
pub(super) enum Phase {
    /// It runs. Once somebody has interrupted it, its report may be lost, and is asked for.
    Running { interrupted: Option<Recovery> },
    /// The shell is halted, and what the command has started is being ended.
    Stopping { exit: Exit, gone: Pending },
    /// The shell drops what it was doing.
    Recovering { exit: Exit, recovery: Recovery, until: Instant },
    /// What the shell has started on its way is being ended.
    Sweeping { exit: Exit, gone: Pending },
    /// The whole session is being ended.
    Closing { exit: Exit, gone: Pending },
    /// All that it had started is gone; the shell is to be waited for.
    Closed { exit: Exit },
    /// It is done.
    Done { exit: Exit, session_ended: bool },
}

/// What can happen to a command.
pub(super) enum Happened {
    /// It printed something, or will print no more.
    Printed(Option<Chunk>),
    /// What it reads took some bytes; true when it will take no more.
    Fed(bool),
    /// Somebody told it something, or nobody ever will again.
    Told(Option<Input>),
    /// The shell reports.
    Reported(Report),
    /// The shell has ended, or cannot be spoken to.
    ShellEnded(Exit),
    /// The command is to end, for this reason.
    MustEnd(Exit),
    /// The session is to end, for this reason.
    SessionMustEnd(Exit),
    /// What was to be ended is gone.
    Gone,
    /// A signal has reached what the command has started.
    Signalled,
    /// It is time to ask for a report.
    Ask,
}

impl Phase {
    /// How the command will have ended, where that no longer depends on it.
    pub(super) fn decided(&self) -> Option<Exit> {
        match *self {
            Self::Running { .. } => None,
            Self::Stopping { exit, .. }
            | Self::Recovering { exit, .. }
            | Self::Sweeping { exit, .. }
            | Self::Closing { exit, .. }
            | Self::Closed { exit }
            | Self::Done { exit, .. } => Some(exit),
        }
    }
}
