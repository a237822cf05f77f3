//! The agent's state, shared by all its connections.

use std::{sync::Arc, time::Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    Activity, Config, Limits,
    caller::Calls,
    code::Contexts,
    connections::Connections,
    fs::{AsUser, Confinement, FileSystem, Roots, note_start},
    memory::Memory,
    process::{Identity, Processes},
    secret::Secret,
    session::Sessions,
    variables::CommandVariables,
    watch::PolledWatches,
};
use anyhow::{Context, anyhow};

/// The share of the memory that output may take which is kept for callers who may return.
const TAILS_SHARE: usize = 4;

/// A handle on the agent; clones are cheap and mean the same agent.
#[derive(Debug, Clone)]
pub struct Agent(Arc<State>);

/// What the operations work on.
#[derive(Debug)]
pub struct State {
    /// Who may drive the agent.
    pub secret: Secret,
    /// See [`Limits`].
    pub limits: Limits,
    /// The sandbox's files.
    pub fs: FileSystem,
    /// The processes that callers started.
    pub processes: Arc<Processes>,
    /// The shells that live between commands.
    pub sessions: Sessions,
    /// The kernels that run code.
    pub contexts: Contexts,
    /// Whether there is anything to do that keeps the sandbox awake.
    pub activity: Activity,
    /// The connections that are open.
    pub connections: Connections,
    /// The memory that callers can make the agent hold.
    pub memory: Memory,
    /// As much of it as commands whose callers may return take of it together.
    pub tails: Memory,
    /// The calls of clients behind the object that are under way.
    pub calls: Calls,
    /// One permit for each watch.
    pub watches: Arc<Semaphore>,
    /// The watches of callers that poll.
    pub polled: PolledWatches,
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
        note_start();
        let user = config.user.as_deref().map(file_user).transpose()?.flatten();
        let guard = user.as_ref().map(AsUser::enter).transpose()?;
        let roots = Roots::new(&config.roots, &config.read_only_roots, config.confinement.unwrap_or_else(Confinement::detect))?;
        drop(guard);
        let variables = CommandVariables::new(config.env, config.sandbox_env);
        let processes =
            Arc::new(Processes::new(variables, roots.first().to_owned(), config.user, &config.state, config.limits.clone())?);
        let limits = config.limits;
        let watches = Arc::new(Semaphore::new(limits.watches));
        let searches = Arc::new(Semaphore::new(limits.searches));
        let archives = Arc::new(Semaphore::new(limits.archives));
        let memory = Memory::new(limits.memory_bytes);
        Ok(Self(Arc::new(State {
            secret: config.secret,
            fs: FileSystem::new(roots, user, limits.file_timeout),
            sessions: Sessions::new(processes.incarnation(), &limits),
            contexts: Contexts::new(&processes, &limits, memory.clone(), config.warm_kernels),
            processes,
            activity: Activity::default(),
            connections: Connections::new(limits.connections),
            tails: memory.share(TAILS_SHARE),
            memory,
            calls: Calls::default(),
            limits,
            searches,
            watches,
            polled: PolledWatches::default(),
            archives,
            started: Instant::now(),
            closing: CancellationToken::new(),
        })))
    }
}

/// The user of `CABANA_USER`, where that is somebody else than the agent.
fn file_user(user: &str) -> anyhow::Result<Option<AsUser>> {
    let identity = Identity::look_up(user).map_err(|error| anyhow!("CABANA_USER: {}", error.message))?;
    let file_user = (!identity.is_own()).then(|| AsUser::new(&identity)).transpose();
    file_user.with_context(|| format!("CABANA_USER: the agent may not act for {user}"))
}

impl std::ops::Deref for Agent {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}
