//! The agent's state, shared by all its connections.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, anyhow};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    Activity, Config, Limits,
    file::{Confinement, Owner, Polled, Roots},
    process::{Identity, Processes},
    secret::Secret,
    session::Sessions,
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
    /// Values of the sandbox's own variables, which no summary shows.
    pub masked: Vec<String>,
    /// Where file operations reach.
    pub roots: Roots,
    /// Whose the files are that file operations make, if not the agent's own user's.
    pub owner: Option<Owner>,
    /// The processes that callers started.
    pub processes: Processes,
    /// The shells that live between commands.
    pub sessions: Sessions,
    /// Whether there is anything to do that keeps the sandbox awake.
    pub activity: Activity,
    /// One permit for each connection.
    pub connections: Arc<Semaphore>,
    /// One permit for each watch.
    pub watches: Arc<Semaphore>,
    /// The watches of those who come back to ask.
    pub polled: Polled,
    /// One permit for each search of the files.
    pub searches: Arc<Semaphore>,
    /// One permit for each archive that is made or extracted.
    pub archives: Arc<Semaphore>,
    /// When it was made.
    pub started: Instant,
    /// Set when connections are to close.
    pub closing: CancellationToken,
}

impl Agent {
    /// An agent without any process, over these roots, which are made when missing, for the user whom commands run as.
    ///
    /// Fails where there is no such user, or the agent may not act for it.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let owner = config.user.as_deref().map(owner).transpose()?.flatten();
        let making = owner.as_ref().map(Owner::make).transpose()?;
        let roots = Roots::new(&config.roots, config.confinement.unwrap_or_else(Confinement::of_kernel))?;
        drop(making);
        let processes = Processes::new(config.env, roots.first().to_owned(), config.user, config.limits.clone())?;
        let limits = config.limits;
        let connections = Arc::new(Semaphore::new(limits.connections));
        let watches = Arc::new(Semaphore::new(limits.watches));
        let searches = Arc::new(Semaphore::new(limits.searches));
        let archives = Arc::new(Semaphore::new(limits.archives));
        Ok(Self(Arc::new(State {
            secret: config.secret,
            masked: config.masked,
            roots,
            owner,
            sessions: Sessions::new(processes.incarnation(), &limits),
            limits,
            processes,
            activity: Activity::default(),
            connections,
            searches,
            watches,
            polled: Polled::default(),
            archives,
            started: Instant::now(),
            closing: CancellationToken::new(),
        })))
    }
}

/// The user of `CABANA_USER`, where that is somebody else than the agent.
fn owner(user: &str) -> anyhow::Result<Option<Owner>> {
    let identity = Identity::look_up(user).map_err(|error| anyhow!("CABANA_USER: {}", error.message))?;
    let owner = (!identity.is_own()).then(|| Owner::new(&identity)).transpose();
    owner.with_context(|| format!("CABANA_USER: the agent may not act for {user}"))
}

impl std::ops::Deref for Agent {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}
