//! All processes: starting, finding and ending them.

mod launch;
mod table;

pub use table::Process;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use cabana_protocol::{Code, Error, ProcessId, exec::Exec, names::quoted};
use rustix::process::Pid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Attendance, Command, Foreground, Input, Journal, Restarts, STDIN_BYTES,
    child::{self, Child},
    command::{self, Start},
    journal::{Budget, Keep},
    supervisor::{ChildTarget, Oom, OwnedChildren, Supervisor, SupervisorContext, reaper, tree},
    wait,
};
use crate::{
    Limits, limits,
    threads::{self, Length},
    variables::CommandVariables,
};
pub(crate) use launch::Launch;
use table::Table;

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
    variables: CommandVariables,
    home: PathBuf,
    user: Option<String>,
    shell: &'static str,
    limits: Limits,
    running: Arc<Semaphore>,
    owned: OwnedChildren,
    oom: Arc<Oom>,
    table: Arc<Table>,
    replay: Arc<Budget>,
    restarts: Arc<Restarts>,
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl Processes {
    /// None yet; they will start in `home` with these variables, as this user or as the agent's own.
    /// `state`: where it is written down what the next container starts again.
    pub fn new(
        variables: CommandVariables,
        home: PathBuf,
        user: Option<String>,
        state: &Path,
        limits: Limits,
    ) -> io::Result<Self> {
        let shell = ["/bin/bash", "/usr/bin/bash"].into_iter().find(|shell| Path::new(shell).exists()).unwrap_or("/bin/sh");
        Ok(Self {
            // Enough that two starts of one sandbox are not confused.
            incarnation: draw().map_err(io::Error::other)?.split_off(6),
            started: AtomicU64::new(0),
            variables,
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
            owned: OwnedChildren::default(),
            oom: Arc::new(Oom::new()),
            table: Arc::default(),
            restarts: Arc::new(Restarts::new(state.join("restart"))),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
        })
    }

    /// Drawn at the agent's start; part of every process id.
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// The variables that every process gets.
    pub fn variables(&self) -> &CommandVariables {
        &self.variables
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

    pub(super) fn owned(&self) -> &OwnedChildren {
        &self.owned
    }

    pub(super) fn oom(&self) -> &Arc<Oom> {
        &self.oom
    }

    /// All that are known, by their start.
    pub fn list(&self) -> Vec<Arc<Process>> {
        self.table.list()
    }

    /// The process of this id or name.
    ///
    /// Fails with `not_found` and `gone`.
    pub fn find(&self, key: &str) -> Result<Arc<Process>, Error> {
        self.table.find(key, &self.incarnation)
    }

    /// Forgets a process that has ended.
    pub fn forget(&self, process: &Process) {
        self.table.remove(process.number);
    }

    /// Starts what is asked for, from this, for a caller who waits for it.
    ///
    /// Fails as [`command::resolve`] and [`Self::start`] do.
    pub(crate) async fn run(self: &Arc<Self>, request: Exec, start: Start, attendance: Attendance) -> Result<Foreground, Error> {
        let processes = Arc::clone(self);
        threads::run(Length::Short, move || {
            let command = command::resolve(&request, start, &processes)?;
            processes.start_foreground(command, Some(Launch::new(&request)), attendance)
        })
        .await?
    }

    /// Starts a program of the agent's own, which callers do not see, as [`Self::run`] does. It ends with its caller.
    pub(crate) async fn run_unlisted(
        self: &Arc<Self>,
        command: impl FnOnce() -> Result<Command, Error> + Send + 'static,
        cancel: CancellationToken,
    ) -> Result<Foreground, Error> {
        let processes = Arc::clone(self);
        threads::run(Length::Short, move || processes.start_foreground(command()?, None, Attendance::until(cancel))).await?
    }

    fn start_foreground(
        &self,
        command: Command,
        launch: Option<Launch>,
        mut attendance: Attendance,
    ) -> Result<Foreground, Error> {
        let (journal, output) = attendance.journal();
        let attendance = Arc::new(attendance);
        let process = self.start(command, launch, journal, Arc::clone(&attendance))?;
        Ok(attendance.begin(process, output))
    }

    /// Starts a process that runs for itself, or finds the one that this request has started under its name.
    ///
    /// Fails with `conflict` (another request has the name), or as [`command::resolve`] and [`Self::start`] do.
    pub(crate) async fn detach(self: &Arc<Self>, request: Exec, start: Start) -> Result<Detached, Error> {
        let launching = match &request.name {
            None => None,
            Some(name) => match self.table.claim(name).await {
                Ok(launching) => Some(launching),
                Err(known) => {
                    let differing = known.launch.differing(&request);
                    if differing.is_empty() {
                        return Ok(Detached::Found(known));
                    }
                    let fields = quoted(&differing, "and");
                    let message = format!("process {} has the name {name:?} and was started with another {fields}", known.id);
                    let details = serde_json::json!({ "reason": "exists", "process": known.id, "differs": differing });
                    return Err(Error::new(Code::Conflict, message).with_details(details));
                }
            },
        };
        let processes = Arc::clone(self);
        threads::run(Length::Short, move || {
            let command = command::resolve(&request, start, &processes)?;
            let keep = match command.terminal {
                None => Keep { memory: REPLAY_BYTES, disk: processes.limits.replay_disk_bytes as u64 },
                Some(_) => Keep { memory: TERMINAL_REPLAY_BYTES, disk: 0 },
            };
            let (launch, journal) = (Launch::new(&request), Journal::detached(&processes.replay, keep));
            let restarts = request.name.as_deref().filter(|_| request.restart);
            if let Some(name) = restarts {
                processes.restarts.note(name, &request)?;
            }
            let started = processes.start(command, Some(launch), journal, Arc::new(Attendance::until(CancellationToken::new())));
            match (&started, restarts) {
                (Ok(process), Some(name)) => processes.forget_restart_at_end(process, name.to_owned()),
                (Err(_), Some(name)) => processes.restarts.forget(name),
                (_, None) => {}
            }
            drop(launching);
            started.map(Detached::Started)
        })
        .await?
    }

    /// The requests of the container before whose processes are to be started again.
    pub(crate) async fn restarts(&self) -> Result<Vec<Exec>, Error> {
        let restarts = Arc::clone(&self.restarts);
        threads::run(Length::Short, move || restarts.list()).await
    }

    /// Has a process not be started again once it has ended, unless that is the container's end.
    fn forget_restart_at_end(&self, process: &Arc<Process>, name: String) {
        let (process, ending, restarts) = (Arc::clone(process), self.ending.clone(), Arc::clone(&self.restarts));
        self.tasks.spawn(async move {
            wait::exited(&process.journal).await;
            if ending.is_cancelled() || process.ends_with_container.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = threads::run(Length::Short, move || restarts.forget(&name)).await {
                tracing::warn!("a process that has ended is started again with the next container: {}", error.message);
            }
        });
    }

    /// Starts a process, listed or not. Blocks until its program has been loaded.
    ///
    /// Fails with `too_many_requests`, `container_not_ready` (the agent ends), or as [`child::spawn`] does.
    fn start(
        &self,
        command: Command,
        launch: Option<Launch>,
        journal: Journal,
        attendance: Arc<Attendance>,
    ) -> Result<Arc<Process>, Error> {
        let admission = self.admit()?;
        // Not to be guessed, so that nothing joins another process's tree by its id.
        let mark = format!("{}.{}", admission.id, draw()?);
        let timeout = command.timeout;
        let child = self.owned.claim(|| child::spawn(command, &mark), |child| child.handle.pid())?;
        let Child { handle, stdio, terminal, started } = child;
        let (guard, inputs) = self.enter(admission, handle.raw_pid(), launch, journal.clone());
        let process = Arc::clone(&guard.process);
        let context = SupervisorContext {
            process: process.id.clone(),
            guard,
            journal,
            inputs,
            attendance,
            session_ends: None,
            agent_ends: self.ending.clone(),
            timeout,
            grace: self.limits.kill_grace,
        };
        let shared = ((self.owned.clone(), Arc::clone(&self.oom)), (self.tasks.clone(), self.ending.clone()));
        let target = ChildTarget::new(handle, terminal, mark, shared.0, shared.1);
        let supervisor = Supervisor::new(context, target, stdio, started.into());
        self.tasks.spawn(async move { supervisor.run().await.run().await });
        Ok(process)
    }

    /// Makes a command of a session whose shell has this number a process, and gives its inputs.
    ///
    /// Fails with `too_many_requests` or `container_not_ready` (the agent ends).
    pub(crate) fn enlist(
        &self,
        shell: u32,
        request: &Exec,
        journal: Journal,
    ) -> Result<(TableGuard, mpsc::Receiver<Input>), Error> {
        Ok(self.enter(self.admit()?, shell, Some(Launch::new(request)), journal))
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
        let permit =
            permit.map_err(|_| limits::reached(self.limits.processes, "processes are running already; end one, or wait"))?;
        let (number, id) = self.next_id();
        Ok(Admission { number, id, permit })
    }

    /// Makes a process that has been admitted known, where it is to be listed, and gives its inputs.
    fn enter(
        &self,
        admission: Admission,
        pid: u32,
        launch: Option<Launch>,
        journal: Journal,
    ) -> (TableGuard, mpsc::Receiver<Input>) {
        let Admission { number, id, permit } = admission;
        let (sender, inputs) = mpsc::channel(INPUTS);
        let (started_at, room) = (SystemTime::now(), Arc::new(Semaphore::new(STDIN_BYTES)));
        let (listed, launch) = (launch.is_some(), launch.unwrap_or_default());
        let tty = Mutex::new(launch.tty);
        let ends_with_container = AtomicBool::new(false);
        let process = Process { number, id, pid, launch, started_at, journal, inputs: sender, room, tty, ends_with_container };
        let process = Arc::new(process);
        (TableGuard::new(process, listed.then_some(&self.table), permit), inputs)
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
            if tree::stop_and_kill(&[&everything]) == [false] {
                break;
            }
        }
    }

    fn everything(&self, spared: Option<Pid>) -> tree::Members {
        tree::Members::Incarnation { incarnation: self.incarnation.clone(), spared }
    }

    /// Starts to wait for orphans, where they come to this process ([`super::adopt_orphans`]).
    pub fn reap_orphans(&self) -> io::Result<()> {
        reaper::reap(self.owned.clone())
    }
}

/// Leave to run.
#[derive(Debug)]
pub(super) struct Admission {
    /// Counts the processes.
    pub(super) number: u64,
    /// What it will be known by.
    pub(super) id: ProcessId,
    /// It is one of those that may run at once.
    pub(super) permit: OwnedSemaphorePermit,
}

/// A process that runs for itself.
#[derive(Debug)]
pub(crate) enum Detached {
    /// This request has started it.
    Started(Arc<Process>),
    /// The same request has started it before.
    Found(Arc<Process>),
}

/// Keeps a process known while it runs, and counts it among those that run. Dropping it says that the process has ended.
#[derive(Debug)]
pub(crate) struct TableGuard {
    pub(crate) process: Arc<Process>,
    /// Where it is listed, if it is.
    table: Option<Arc<Table>>,
    _permit: OwnedSemaphorePermit,
}

impl TableGuard {
    fn new(process: Arc<Process>, table: Option<&Arc<Table>>, permit: OwnedSemaphorePermit) -> Self {
        table.iter().for_each(|table| table.insert(Arc::clone(&process)));
        Self { process, table: table.map(Arc::clone), _permit: permit }
    }
}

impl TableGuard {
    /// The process has ended. It stays known for a while where its caller may return; the future, awaited, sees to it that it is
    /// forgotten then.
    pub(crate) fn end(self) -> impl Future<Output = ()> + Send {
        let table = self.table.clone();
        drop(self);
        async move {
            if let Some(table) = table {
                table.forget_returned().await;
            }
        }
    }
}

impl Drop for TableGuard {
    fn drop(&mut self) {
        self.table.iter().for_each(|table| table.ended(&self.process));
    }
}

/// Where output may be kept that does not fit into memory: where files may lie for long, and else among the user's.
fn spool_directories(home: &Path) -> Vec<PathBuf> {
    vec!["/var/tmp".into(), "/tmp".into(), home.to_owned()]
}

/// Twelve random letters and digits, 60 bits.
pub(crate) fn draw() -> Result<String, Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(format!("no randomness: {error}")))?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}
