//! Processes that callers start. Each is owned by one task ([`owner`]), which alone reads it, signals it and waits for it;
//! everybody else holds a [`Process`] and talks to that task.
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
//! | [`wait`] | how a child ended, from the kernel |
//! | [`table`] | the processes that are known |
//! | [`handlers`] | the operations on them |
//! | [`until`] | waiting for something to happen to one |
//! | [`tree`] | everything a child started, and how to end it |
//! | [`mod@proc`] | what `/proc` says of processes |
//! | [`kill`] | sending signals |
//! | [`oom`] | whether the kernel has killed for want of memory |
//! | [`origins`] | who descends from which of them |
//! | [`orphans`] | children of children that nobody waits for |

mod feed;
mod handlers;
mod journal;
mod kill;
mod oom;
mod origins;
mod orphans;
mod owner;
mod pipes;
mod proc;
mod spawn;
mod table;
mod terminal;
mod tree;
mod until;
mod users;
mod wait;

pub use journal::{Entry, Journal, Reader};
pub use origins::Origins;
pub use orphans::adopt_orphans;
pub use pipes::{Chunk, Stream};
pub use spawn::keep_descriptors;
pub use table::Record;
pub use users::Identity;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use cabana_protocol::{
    Code, Error, ProcessId, Signal,
    exec::{Exec, Tty},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::Limits;
use table::Table;

/// Bytes of a detached process's output that are kept for replay while it runs.
const REPLAY_BYTES: u64 = 1 << 20;

/// The same for a terminal: several screens full, and what came before means little on the screen of a newcomer.
const TERMINAL_REPLAY_BYTES: u64 = 256 << 10;

/// Bytes of it that are kept once it has ended.
const REPLAY_AFTER_BYTES: u64 = 256 << 10;

/// Bytes that may wait to be written to a process's stdin.
const STDIN_BYTES: usize = 1 << 20;

/// Inputs that wait for the owner.
const INPUTS: usize = 8;

/// How long processes may take to end after SIGTERM when the agent ends.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

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

/// All processes of this agent.
#[derive(Debug)]
pub struct Processes {
    incarnation: String,
    started: AtomicU64,
    env: BTreeMap<OsString, OsString>,
    home: PathBuf,
    user: Option<String>,
    shell: &'static str,
    limits: Limits,
    running: Arc<Semaphore>,
    own: orphans::Own,
    oom: Arc<oom::Oom>,
    table: Arc<Table>,
    /// Held from the look for a name to the launch under it: two requests at once launch once. Never held across an await.
    launching: Mutex<()>,
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl Processes {
    /// None yet; they will start in `home` with these variables, as this user or as the agent's own.
    pub fn new(env: BTreeMap<OsString, OsString>, home: PathBuf, user: Option<String>, limits: Limits) -> io::Result<Self> {
        let shell = ["/bin/bash", "/usr/bin/bash"].into_iter().find(|shell| Path::new(shell).exists()).unwrap_or("/bin/sh");
        Ok(Self {
            // Enough that two starts of one sandbox are not confused.
            incarnation: draw().map_err(io::Error::other)?.split_off(6),
            started: AtomicU64::new(0),
            env,
            home,
            user,
            shell,
            running: Arc::new(Semaphore::new(limits.processes)),
            limits,
            own: orphans::Own::default(),
            oom: Arc::new(oom::Oom::new()),
            table: Arc::default(),
            launching: Mutex::default(),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
        })
    }

    /// Drawn at the agent's start; part of every process id.
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// The variables that every process gets.
    pub fn env(&self) -> &BTreeMap<OsString, OsString> {
        &self.env
    }

    /// Where processes start that ask for no directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Whom processes run as that ask for nobody, if not the agent's own user.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The shell that runs scripts: bash, or sh where there is no bash.
    pub fn shell(&self) -> &str {
        self.shell
    }

    /// All that are known, by their start.
    pub fn list(&self) -> Vec<Arc<Record>> {
        self.table.list()
    }

    /// The process of this id or name.
    ///
    /// Fails with `not_found` and `gone`.
    pub fn find(&self, key: &str) -> Result<Arc<Record>, Error> {
        self.table.find(key, &self.incarnation)
    }

    /// Forgets a process that has ended.
    pub fn forget(&self, record: &Record) {
        self.table.remove(record.number);
    }

    /// Starts a process for a caller who waits for it. When `cancel` is set it is ended, with all it started, and its exit is
    /// `cancelled`.
    ///
    /// Fails as [`Self::detach`] does.
    pub fn attend(&self, command: Command, request: Exec, cancel: CancellationToken) -> Result<(Arc<Record>, Attended), Error> {
        let journal = Journal::new(0);
        let output = journal.hold();
        let record = self.start(command, request, journal, cancel.clone())?;
        let attended = Attended { output, inputs: record.inputs.clone(), _cancel: cancel.drop_guard() };
        Ok((record, attended))
    }

    /// Starts a process that runs for itself, or finds the one that this request has started under its name.
    ///
    /// Fails with `conflict` (another request has the name), `too_many_requests`, `container_not_ready` (the agent ends), or as
    /// [`spawn`] does.
    pub fn detach(&self, command: Command, request: Exec) -> Result<Arc<Record>, Error> {
        let _launching = self.launching.lock().unwrap_or_else(PoisonError::into_inner);
        match request.name.as_deref().and_then(|name| self.table.named(name)) {
            Some(known) if known.request == request => Ok(known),
            Some(known) => {
                let message = format!("process {} has this name, and was asked for differently", known.id);
                Err(Error::new(Code::Conflict, message).with_details(serde_json::json!({ "process": known.id })))
            }
            None => {
                let replay = command.terminal.map_or(REPLAY_BYTES, |_| TERMINAL_REPLAY_BYTES);
                self.start(command, request, Journal::new(replay), CancellationToken::new())
            }
        }
    }

    fn start(&self, command: Command, request: Exec, journal: Journal, cancel: CancellationToken) -> Result<Arc<Record>, Error> {
        if self.ending.is_cancelled() {
            return Err(Error::new(Code::ContainerNotReady, "the agent is ending"));
        }
        let permit = Arc::clone(&self.running).try_acquire_owned().map_err(|_| {
            let limit = self.limits.processes;
            Error::new(Code::TooManyRequests, format!("{limit} processes run already")).with_details(limit_details(limit))
        })?;
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let id = ProcessId::new(&self.incarnation, number);
        // Not to be guessed, so that nothing joins another process's tree by its id.
        let mark = format!("{id}.{}", draw()?);
        let timeout = command.timeout;
        let child = self.own.claim(|| spawn::spawn(command, &mark))?;
        let (told, inputs) = mpsc::channel(INPUTS);
        let record = Arc::new(Record {
            number,
            id: id.clone(),
            pid: child.pid(),
            request,
            started_at: SystemTime::now(),
            journal: journal.clone(),
            inputs: told,
            room: Arc::new(Semaphore::new(STDIN_BYTES)),
        });
        let ties = owner::Ties {
            id,
            mark,
            journal,
            replay_after: REPLAY_AFTER_BYTES,
            inputs,
            cancel,
            agent_ends: self.ending.clone(),
            timeout,
            grace: self.limits.kill_grace,
            own: self.own.clone(),
            oom: Arc::clone(&self.oom),
            tasks: self.tasks.clone(),
        };
        let owner = owner::Owner::new(child, ties);
        self.table.insert(Arc::clone(&record));
        let (table, known) = (Arc::clone(&self.table), Arc::clone(&record));
        self.tasks.spawn(async move {
            owner.run().await;
            table.ended(&known);
            drop(permit);
        });
        Ok(record)
    }

    /// Ends all processes and whatever they left behind, and waits until they are gone. None starts any more.
    pub async fn end_all(&self) {
        self.ending.cancel();
        tree::end(self.everything(), self.limits.kill_grace.min(SHUTDOWN_GRACE)).await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Kills whatever is left, without a word.
    pub fn kill_all(&self) {
        if let Err(error) = self.everything().kill() {
            tracing::error!("cannot look for processes that are left: {error}");
        }
    }

    fn everything(&self) -> tree::Members {
        tree::Members::Incarnation(self.incarnation.clone())
    }

    /// Starts to wait for orphans, where they come to this process ([`adopt_orphans`]).
    pub fn reap_orphans(&self) -> io::Result<JoinHandle<()>> {
        orphans::reap(self.own.clone())
    }
}

fn limit_details(limit: usize) -> serde_json::Value {
    serde_json::json!({ "limit": limit })
}

/// Twelve random letters and digits, 60 bits.
fn draw() -> Result<String, Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(format!("no randomness: {error}")))?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}
