//! The agent's state, shared by all its connections.

use std::{sync::Arc, time::Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Limits,
    file::{Polled, Roots},
    process::Processes,
    secret::Secret,
};

/// A handle on the agent; clones are cheap and mean the same agent. Operations are implemented on it
/// ([`Handle`](crate::dispatch::Handle), [`Run`](crate::dispatch::Run)).
#[derive(Debug, Clone)]
pub struct Agent(Arc<State>);

/// What the operations work on.
#[derive(Debug)]
pub struct State {
    /// Who may drive the agent.
    pub secret: Secret,
    /// See [`Limits`].
    pub limits: Limits,
    /// Where file operations reach.
    pub roots: Roots,
    /// The processes that callers started.
    pub processes: Processes,
    /// One permit for each connection.
    pub connections: Arc<Semaphore>,
    /// One permit for each watch.
    pub watches: Arc<Semaphore>,
    /// The watches of those who come back to ask.
    pub polled: Polled,
    /// When it was made.
    pub started: Instant,
    /// Set when connections are to close.
    pub closing: CancellationToken,
}

impl Agent {
    /// An agent without any process, over these roots, which are made when missing.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let roots = Roots::new(&config.roots)?;
        let processes = Processes::new(config.env, roots.first().to_owned(), config.user, config.limits.clone())?;
        let connections = Arc::new(Semaphore::new(config.limits.connections));
        let watches = Arc::new(Semaphore::new(config.limits.watches));
        Ok(Self(Arc::new(State {
            secret: config.secret,
            limits: config.limits,
            roots,
            processes,
            connections,
            watches,
            polled: Polled::default(),
            started: Instant::now(),
            closing: CancellationToken::new(),
        })))
    }
}

impl std::ops::Deref for Agent {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}
