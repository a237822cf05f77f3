//! What a container can be told.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::oneshot;

use crate::engine::EngineError;
use crate::network::Network;

/// Where the answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

/// A message to a container's task. Every reply comes at once, except that of a start; whoever wants to see
/// the effect watches the state.
#[derive(Debug)]
pub enum Control {
    /// Legal unless running.
    Start(Reply<()>),
    /// Legal while running.
    Kill {
        /// Which signal.
        signal: Signal,
        /// Where the answer goes.
        reply: Reply<()>,
    },
    /// Legal while running.
    Stop {
        /// Time between SIGTERM and SIGKILL.
        grace: Duration,
        /// Where the answer goes.
        reply: Reply<()>,
    },
    /// Legal unless running, or with `force`.
    Remove {
        /// Whether to kill it first.
        force: bool,
        /// Where the answer goes.
        reply: Reply<()>,
    },
    /// Legal while running.
    Network(Reply<Arc<Network>>),
}
