//! Processes that callers start. Each is owned by one task ([`owner`]), which alone reads it, signals it and waits for it;
//! everybody else holds a [`Process`] and talks to that task.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`spawn`] | from a [`Command`] to a running child |
//! | [`owner`] | the task: output, input, timeout, end |
//! | [`pipes`] | a child's stdout and stderr as numbered chunks |
//! | [`feed`] | a child's stdin |
//! | [`journal`] | what a process printed, numbered, for any number of readers |
//! | [`wait`] | how a child ended, from the kernel |
//! | [`tree`] | everything a child started, and how to end it |
//! | [`mod@proc`] | what `/proc` says of processes |
//! | [`kill`] | sending signals |
//! | [`orphans`] | children of children that nobody waits for |

mod feed;
mod journal;
mod kill;
mod orphans;
mod owner;
mod pipes;
mod proc;
mod spawn;
mod tree;
mod wait;

pub use journal::{Entry, Journal, Reader};
pub use orphans::adopt_orphans;
pub use pipes::{Chunk, Stream};
pub use spawn::keep_descriptors;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cabana_protocol::{Code, Error, ProcessId, Signal};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::Limits;

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
    /// What it reads.
    pub stdin: Stdin,
    /// How long it may run.
    pub timeout: Duration,
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
    /// Its live stdin is at its end; so it is when all senders are gone.
    Eof,
    /// A signal for its process group.
    Signal(Signal),
}

/// A process that runs. Dropping it ends the process with all it started.
#[derive(Debug)]
pub struct Process {
    /// Its id.
    pub id: ProcessId,
    /// The kernel's number for it.
    pub pid: u32,
    /// What it prints and how it ends; the process waits for this reader.
    pub output: Reader,
    _cancel: DropGuard,
}

/// All processes of this agent.
#[derive(Debug)]
pub struct Processes {
    incarnation: String,
    started: AtomicU64,
    env: BTreeMap<OsString, OsString>,
    home: PathBuf,
    shell: &'static str,
    limits: Limits,
    running: Arc<Semaphore>,
    own: orphans::Own,
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl Processes {
    /// None yet; they will start in `home` with these variables.
    pub fn new(env: BTreeMap<OsString, OsString>, home: PathBuf, limits: Limits) -> io::Result<Self> {
        let shell = ["/bin/bash", "/usr/bin/bash"].into_iter().find(|shell| Path::new(shell).exists()).unwrap_or("/bin/sh");
        Ok(Self {
            // Enough that two starts of one sandbox are not confused.
            incarnation: draw().map_err(io::Error::other)?.split_off(6),
            started: AtomicU64::new(0),
            env,
            home,
            shell,
            running: Arc::new(Semaphore::new(limits.processes)),
            limits,
            own: orphans::Own::default(),
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

    /// The shell that runs scripts: bash, or sh where there is no bash.
    pub fn shell(&self) -> &str {
        self.shell
    }

    /// Starts a process. When `cancel` is set it is ended, with all it started, and its exit is `cancelled`.
    /// The second part tells the process something; a live stdin ends when it is dropped.
    ///
    /// Fails with `too_many_requests`, `container_not_ready` (the agent ends), or as [`spawn`] does.
    pub fn start(&self, command: Command, cancel: CancellationToken) -> Result<(Process, mpsc::Sender<Input>), Error> {
        if self.ending.is_cancelled() {
            return Err(Error::new(Code::ContainerNotReady, "the agent is ending"));
        }
        let permit = Arc::clone(&self.running).try_acquire_owned().map_err(|_| {
            let limit = self.limits.processes;
            Error::new(Code::TooManyRequests, format!("{limit} processes run already")).with_details(limit_details(limit))
        })?;
        let id = ProcessId::new(&self.incarnation, self.started.fetch_add(1, Ordering::Relaxed) + 1);
        // Not to be guessed, so that nothing joins another process's tree by its id.
        let mark = format!("{id}.{}", draw()?);
        let timeout = command.timeout;
        let child = self.own.claim(|| spawn::spawn(command, &mark))?;
        let journal = Journal::new(0);
        let (told, inputs) = mpsc::channel(INPUTS);
        let (pid, guard) = (child.pid(), cancel.clone().drop_guard());
        let process = Process { id: id.clone(), pid, output: journal.hold(), _cancel: guard };
        let ties = owner::Ties {
            id,
            mark,
            journal,
            replay_after: 0,
            inputs,
            cancel,
            agent_ends: self.ending.clone(),
            timeout,
            grace: self.limits.kill_grace,
            own: self.own.clone(),
            tasks: self.tasks.clone(),
        };
        let owner = owner::Owner::new(child, ties);
        self.tasks.spawn(async move {
            owner.run().await;
            drop(permit);
        });
        Ok((process, told))
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
    serde_json::json!({ "limit": limit, "retry_after_ms": 1_000 })
}

/// Twelve random letters and digits, 60 bits.
fn draw() -> Result<String, Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(format!("no randomness: {error}")))?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}
