//! The commands that a container's task takes.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::oneshot;

use super::workload::Changes;
use crate::engine::EngineError;
use crate::network::Network;

/// Where a command's outcome goes.
pub type OutcomeSender<T> = oneshot::Sender<Result<T, EngineError>>;

/// A command to a container's task. Only a start is answered when it has been carried out; the effect of all others
/// shows in the container's state.
#[derive(Debug)]
pub enum Command {
    /// Legal unless running.
    Start(OutcomeSender<()>),
    /// Legal while running.
    Kill {
        /// Which signal.
        signal: Signal,
        /// Where the outcome goes.
        outcome: OutcomeSender<()>,
    },
    /// Legal while running.
    Stop {
        /// Time between SIGTERM and SIGKILL.
        grace: Duration,
        /// Where the outcome goes.
        outcome: OutcomeSender<()>,
    },
    /// Legal unless running, or with `force`.
    Remove {
        /// Whether to kill it first.
        force: bool,
        /// Where the outcome goes.
        outcome: OutcomeSender<()>,
    },
    /// Legal while running.
    Network(OutcomeSender<Arc<Network>>),
    /// Legal while running.
    Changes(OutcomeSender<Changes>),
}
