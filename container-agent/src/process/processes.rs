//! All processes: starting, finding and ending them.

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

use cabana_protocol::{Code, Error, ProcessId, exec::Exec};
use rustix::process::Pid;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Attended, Command, Input, Journal, Record, STDIN_BYTES,
    journal::{Budget, Keep},
    oom, orphans, owner,
    place::{Admission, Place},
    spawn,
    table::Table,
    tree,
};
use crate::{Limits, limits};

/// Bytes of a detached process's output that are kept in memory for replay; older ones are kept on disk.
const REPLAY_BYTES: u64 = 1 << 20;

/// Bytes kept of what appears on a detached terminal: several screens full, and what came before means little on the screen of a
/// newcomer.
const TERMINAL_REPLAY_BYTES: u64 = 256 << 10;

/// Inputs that wait for the owner.
const INPUTS: usize = 8;

/// How long processes may take to end after SIGTERM when the agent ends.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

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
    pub(super) own: orphans::Own,
    oom: Arc<oom::Oom>,
    table: Arc<Table>,
    replay: Arc<Budget>,
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
            user,
            shell,
            running: Arc::new(Semaphore::new(limits.processes)),
            replay: Arc::new(Budget::new(
                limits.replay_bytes as u64,
                limits.replay_disk_total_bytes as u64,
                spool_directories(&home),
            )),
            limits,
            home,
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

    /// The tasks that the agent's end waits for.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Set when the agent ends.
    pub(crate) fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    pub(super) fn own(&self) -> &orphans::Own {
        &self.own
    }

    pub(super) fn oom(&self) -> &Arc<oom::Oom> {
        &self.oom
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
        let (journal, output) = Journal::attended();
        let record = self.start(command, request, journal, cancel.clone())?;
        let attended = Attended::new(&record, output, cancel);
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
                let keep = match command.terminal {
                    None => Keep { memory: REPLAY_BYTES, disk: self.limits.replay_disk_bytes as u64 },
                    Some(_) => Keep { memory: TERMINAL_REPLAY_BYTES, disk: 0 },
                };
                self.start(command, request, Journal::detached(&self.replay, keep), CancellationToken::new())
            }
        }
    }

    fn start(&self, command: Command, request: Exec, journal: Journal, cancel: CancellationToken) -> Result<Arc<Record>, Error> {
        let admission = self.admit()?;
        let id = admission.id.clone();
        // Not to be guessed, so that nothing joins another process's tree by its id.
        let mark = format!("{id}.{}", draw()?);
        let timeout = command.timeout;
        let child = self.own.claim(|| spawn::spawn(command, &mark), |child| child.exited.pid())?;
        let (place, inputs) = self.place(admission, child.pid(), request, journal.clone());
        let ties = owner::Ties {
            id,
            mark,
            journal,
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
        let record = Arc::clone(&place.record);
        self.tasks.spawn(async move {
            owner.run().await;
            drop(place);
        });
        Ok(record)
    }

    /// Makes a command of a session whose shell has this number a process, and gives what it will be told.
    ///
    /// Fails with `too_many_requests` or `container_not_ready` (the agent ends).
    pub(crate) fn enlist(&self, shell: u32, request: Exec, journal: Journal) -> Result<(Place, mpsc::Receiver<Input>), Error> {
        Ok(self.place(self.admit()?, shell, request, journal))
    }

    /// The id of a process that nobody will see run.
    pub(crate) fn unused_id(&self) -> ProcessId {
        self.next_id().1
    }

    fn next_id(&self) -> (u64, ProcessId) {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        (number, ProcessId::new(&self.incarnation, number))
    }

    /// Lets one more process run.
    ///
    /// Fails with `too_many_requests` or `container_not_ready` (the agent ends).
    fn admit(&self) -> Result<Admission, Error> {
        if self.ending.is_cancelled() {
            return Err(Error::new(Code::ContainerNotReady, "the agent is ending"));
        }
        let permit = Arc::clone(&self.running).try_acquire_owned();
        let permit = permit.map_err(|_| limits::reached(self.limits.processes, "processes run already"))?;
        let (number, id) = self.next_id();
        Ok(Admission { number, id, permit })
    }

    /// Makes a process that has been admitted known, and gives what it will be told.
    fn place(&self, admission: Admission, pid: u32, request: Exec, journal: Journal) -> (Place, mpsc::Receiver<Input>) {
        let Admission { number, id, permit } = admission;
        let (told, inputs) = mpsc::channel(INPUTS);
        let started_at = SystemTime::now();
        let room = Arc::new(Semaphore::new(STDIN_BYTES));
        let record = Arc::new(Record { number, id, pid, request, started_at, journal, inputs: told, room });
        (Place::take(record, &self.table, permit), inputs)
    }

    /// Ends all processes and whatever they left behind, but for the image's own command of this number, and waits until they are
    /// gone. None starts any more.
    pub async fn end_all(&self, spared: Option<Pid>) {
        self.ending.cancel();
        tree::end(self.everything(spared), self.limits.kill_grace.min(SHUTDOWN_GRACE)).await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Kills whatever is left, without a word.
    pub fn kill_all(&self) {
        // One call ends all but what forks all the while.
        const CALLS: usize = 5;
        let everything = self.everything(None);
        for _ in 0..CALLS {
            if tree::Members::kill(&[&everything]) == [false] {
                break;
            }
        }
    }

    fn everything(&self, spared: Option<Pid>) -> tree::Members {
        tree::Members::Incarnation { incarnation: self.incarnation.clone(), spared }
    }

    /// Starts to wait for orphans, where they come to this process ([`super::adopt_orphans`]).
    pub fn reap_orphans(&self) -> io::Result<JoinHandle<()>> {
        orphans::reap(self.own.clone())
    }
}

/// Where output may be kept that does not fit into memory: where files may lie for long, and else among the user's.
fn spool_directories(home: &Path) -> Vec<PathBuf> {
    vec!["/var/tmp".into(), "/tmp".into(), home.to_owned()]
}

/// Twelve random letters and digits, 60 bits.
pub(super) fn draw() -> Result<String, Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(format!("no randomness: {error}")))?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}
