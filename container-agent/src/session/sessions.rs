//! All sessions: creating, finding, and taking turns in them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use cabana_protocol::{
    Code, Error,
    exec::{Exec, MAX_TIMEOUT_MS},
    names::{invalid_field, quoted},
    session::{self, Create, Shell, Update},
};
use futures_util::FutureExt;
use serde_json::json;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    fifo::{Console, Directory},
    run::Command,
    script::{self, Script},
    task::{SessionContext, SessionTask, Turn},
};
use crate::{
    Limits, limits,
    process::{self, Attendance, Entry, Foreground, Processes, command},
    threads::{self, Length},
};

/// Commands that may wait for their turn in one session.
const WAITING: usize = 64;

/// How much of what a shell says is told when it refuses.
const MAX_SAID: usize = 1 << 10;

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    id: String,
    /// What it was made by.
    settings: Create,
    kind: Shell,
    pid: u32,
    created_at: SystemTime,
    /// Gives a command to the owner; closed when the session has ended.
    owner: mpsc::Sender<Turn>,
    /// One permit: whoever has it has the shell. The others get it in the order in which they have asked.
    turns: Arc<Semaphore>,
    /// One permit for each command that waits.
    waiting: Arc<Semaphore>,
    end: CancellationToken,
}

type Waiting = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// A place in the queue of a session. Dropping it gives it up.
pub(crate) struct Ticket {
    session: Arc<Session>,
    turn: Waiting,
    waiting: OwnedSemaphorePermit,
}

impl Ticket {
    /// The session's shell.
    pub(super) fn shell(&self) -> Shell {
        self.session.kind
    }

    /// Whom the session runs as, if it was made for somebody.
    pub(super) fn user(&self) -> Option<&str> {
        self.session.settings.user.as_deref()
    }
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    incarnation: String,
    limit: usize,
    grace: Duration,
    permits: Arc<Semaphore>,
    /// One permit: sessions with names are created one after the other, so that two requests at once make one.
    naming: Semaphore,
    created: AtomicU64,
    /// Those that live, by their number. Locked for a look-up at a time, never across an await.
    known: Mutex<BTreeMap<u64, Arc<Session>>>,
}

impl Session {
    /// As callers see it.
    pub(super) fn describe(&self) -> session::Session {
        let created_at = humantime::format_rfc3339_millis(self.created_at).to_string();
        let Create { name, timeout_ms, .. } = &self.settings;
        let (name, timeout_ms) = (name.clone(), *timeout_ms);
        session::Session { session: self.id.clone(), name, timeout_ms, shell: self.kind, pid: self.pid, created_at }
    }

    /// The process of its shell.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// The error for one that has ended.
    pub(super) fn gone(&self) -> Error {
        gone(&self.id)
    }

    /// Ends it, and waits until all that it had started is gone.
    pub(super) async fn end(&self) {
        self.end.cancel();
        self.owner.closed().await;
    }
}

impl Sessions {
    /// None yet; their ids will be of this incarnation.
    pub fn new(incarnation: &str, limits: &Limits) -> Self {
        Self {
            incarnation: incarnation.to_owned(),
            limit: limits.sessions,
            grace: limits.kill_grace,
            permits: Arc::new(Semaphore::new(limits.sessions)),
            naming: Semaphore::new(1),
            created: AtomicU64::new(0),
            known: Mutex::default(),
        }
    }

    /// Those that live, by their creation.
    pub(super) fn list(&self) -> Vec<Arc<Session>> {
        self.with(|known| known.values().cloned().collect())
    }

    /// The session of this name, or of this id.
    ///
    /// Fails with `gone` for one that has ended, or is of another incarnation, else with `not_found`.
    pub(super) fn find(&self, id: &str) -> Result<Arc<Session>, Error> {
        if let Some(session) = self.named(id) {
            return Ok(session);
        }
        let parts = id.rsplit_once("-s").and_then(|(incarnation, number)| Some((incarnation, number.parse::<u64>().ok()?)));
        match parts {
            Some((own, number)) if own == self.incarnation && (1..=self.created.load(Ordering::Relaxed)).contains(&number) => {
                self.with(|known| known.get(&number).cloned()).ok_or_else(|| gone(id))
            }
            Some((other, _)) if other != self.incarnation && other.len() == self.incarnation.len() => Err(gone(id)),
            _ => Err(Error::not_found(format!("there is no session {:?}", shown(id))).because("no_such_session")),
        }
    }

    fn named(&self, name: &str) -> Option<Arc<Session>> {
        self.with(|known| known.values().find(|session| session.settings.name.as_deref() == Some(name)).cloned())
    }

    /// Starts a session, or finds the one of its name. Dropping the future ends it again.
    ///
    /// Fails with `conflict` where the session of this name has other settings, and as [`start`].
    pub(super) async fn create(&self, processes: &Arc<Processes>, request: Create) -> Result<Arc<Session>, Error> {
        if request.timeout_ms.is_some_and(|timeout| !(1..=MAX_TIMEOUT_MS).contains(&timeout)) {
            return Err(invalid_field("timeout_ms", &format!("a whole number from 1 to {MAX_TIMEOUT_MS}")));
        }
        let Some(name) = &request.name else { return self.start(processes, request).await };
        process::check_name(name)?;
        let _naming = self.naming.acquire().await.map_err(|error| Error::internal(error.to_string()))?;
        match self.named(name) {
            None => self.start(processes, request).await,
            Some(session) => {
                let differing = differing(&session.settings, &request);
                if differing.is_empty() { Ok(session) } else { Err(exists(name, &differing)) }
            }
        }
    }

    /// Starts a session, and waits until its shell reads.
    async fn start(&self, processes: &Arc<Processes>, request: Create) -> Result<Arc<Session>, Error> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| limits::reached(self.limit, "sessions exist already; delete one"))?;
        let number = self.created.fetch_add(1, Ordering::Relaxed) + 1;
        let id = format!("{}-s{number}", self.incarnation);
        let starting = (Arc::clone(processes), id.clone(), request.clone());
        let started = threads::run(Length::Short, move || start(&starting.0, &starting.1, &starting.2)).await??;
        let Started { kind, directory, console, shell } = started;
        let (turns, end) = (Arc::new(Semaphore::new(1)), CancellationToken::new());
        let (owner, queue) = mpsc::channel(1);
        let waiting = Arc::new(Semaphore::new(WAITING));
        let (pid, created_at) = (shell.pid(), SystemTime::now());
        let session = Arc::new(Session {
            id,
            settings: request,
            kind,
            pid,
            created_at,
            owner,
            turns: Arc::clone(&turns),
            waiting,
            end: end.clone(),
        });
        let context = SessionContext {
            end: end.clone(),
            agent_ends: processes.ending().clone(),
            tasks: processes.tasks().clone(),
            grace: self.grace,
            turns,
        };
        let (ready, reads) = oneshot::channel();
        let task = SessionTask { shell, kind, directory: Arc::new(directory), console, context, runs: 0, status: 0 };
        processes.tasks().spawn(async move {
            task.run(queue, ready).await;
            drop(permit);
        });
        let abandoned = end.drop_guard();
        reads.await.map_err(|_| Error::new(Code::Unprocessable, "the session's shell ended during its start"))?;
        abandoned.disarm();
        self.with(|known| known.insert(number, Arc::clone(&session)));
        Ok(session)
    }

    /// Takes a place in the queue of this session.
    ///
    /// Fails with `not_found`, `gone`, `too_many_requests`.
    pub(crate) fn line_up(&self, id: &str) -> Result<Ticket, Error> {
        let session = self.find(id)?;
        let waiting = Arc::clone(&session.waiting).try_acquire_owned();
        let waiting = waiting.map_err(|_| limits::reached(WAITING, "commands already wait for this session"))?;
        let mut turn: Waiting = Box::pin(Arc::clone(&session.turns).acquire_owned());
        // Only being polled puts it into the queue.
        if let Some(turn_at_once) = turn.as_mut().now_or_never() {
            turn = Box::pin(std::future::ready(turn_at_once));
        }
        Ok(Ticket { session, turn, waiting })
    }

    /// Runs a command in a session, once its turn has come; `None` when it is cancelled before that. Dropping the future gives up
    /// the place.
    ///
    /// Fails with `invalid_request`, `not_found` (directory), `gone`, `too_many_requests`.
    pub(crate) async fn run(
        &self,
        processes: &Arc<Processes>,
        ticket: Ticket,
        request: Exec,
        attendance: Attendance,
    ) -> Result<Option<Foreground>, Error> {
        let script = prepare(processes, &request).await?;
        self.take_turn(processes, ticket, script, request, attendance).await
    }

    /// Changes the state of a session's shell, in its turn.
    ///
    /// Fails with `invalid_request`, `not_found`, `gone`, `too_many_requests`, `unprocessable`.
    pub(super) async fn update(&self, processes: &Arc<Processes>, request: Update) -> Result<Arc<Session>, Error> {
        let ticket = self.line_up(&request.session)?;
        let session = Arc::clone(&ticket.session);
        let (kind, starting) = (session.kind, Arc::clone(processes));
        let script = threads::run(Length::Short, move || {
            let cwd = request.cwd.as_deref().map(|cwd| command::directory(starting.home(), Some(cwd))).transpose()?;
            Script::update(kind, cwd.as_deref(), &request.env)
        });
        self.tell(processes, ticket, script.await??, "session.update", MAX_SAID, CancellationToken::new()).await?;
        Ok(session)
    }

    /// Has the shell do something of the agent's own in its turn, which is listed under this name and shows no values, and returns what it
    /// printed, up to a limit.
    ///
    /// Fails with `gone`, `too_many_requests`, `unprocessable`.
    pub(super) async fn tell(
        &self,
        processes: &Arc<Processes>,
        ticket: Ticket,
        script: Script,
        shown: &str,
        limit: usize,
        cancel: CancellationToken,
    ) -> Result<Vec<u8>, Error> {
        let session = ticket.session.id.clone();
        let foreground = self.take_turn(processes, ticket, script, Exec::new(shown), Attendance::until(cancel)).await?;
        let Some(mut foreground) = foreground else { return Err(gone(&session)) };
        let mut said = Vec::new();
        loop {
            match foreground.output.next().await {
                Entry::Chunk(chunk) => said.extend_from_slice(&chunk.bytes[..chunk.bytes.len().min(limit - said.len())]),
                Entry::Gap { .. } => {}
                Entry::End(result) if result.success() && said.len() < limit => return Ok(said),
                Entry::End(_) => {
                    said.truncate(MAX_SAID);
                    let said = String::from_utf8_lossy(&said).trim().to_owned();
                    return Err(Error::new(Code::Unprocessable, format!("the session's shell refused: {said}")));
                }
            }
        }
    }

    async fn take_turn(
        &self,
        processes: &Arc<Processes>,
        ticket: Ticket,
        script: Script,
        request: Exec,
        mut attendance: Attendance,
    ) -> Result<Option<Foreground>, Error> {
        let Ticket { session, turn, waiting } = ticket;
        let Some(permit) = attendance.cancel().run_until_cancelled(turn).await else { return Ok(None) };
        drop(waiting);
        let gone = || gone(&session.id);
        let permit = permit.map_err(|_| gone())?;
        let (journal, output) = attendance.journal();
        let attendance = Arc::new(attendance);
        let enlisted = processes.enlist(session.pid, &request, journal.clone())?;
        let foreground = attendance.begin(Arc::clone(&enlisted.0.process), output);
        let timeout_ms = request.timeout_ms.or(session.settings.timeout_ms);
        let command = Command::new(&Exec { timeout_ms, ..request }, script, enlisted, journal, attendance);
        let (begun, begins) = oneshot::channel();
        session.owner.send(Turn { command, begun, permit }).await.map_err(|_| gone())?;
        begins.await.map_err(|_| gone())??;
        Ok(Some(foreground))
    }

    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<u64, Arc<Session>>) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, session| !session.owner.is_closed());
        look(&mut known)
    }
}

/// A shell that has been started, and where it meets the agent.
struct Started {
    kind: Shell,
    directory: Directory,
    console: Console,
    shell: process::Shell,
}

/// Starts a session's shell. Blocks for as long as that takes.
fn start(processes: &Processes, id: &str, request: &Create) -> Result<Started, Error> {
    let (kind, command) = shell(processes, request)?;
    let directory = Directory::new(command.user.as_ref().map(|user| user.uid))?;
    directory.write("start", script::start(kind, directory.path()).as_bytes())?;
    // The shell's user cannot make files there, but write to these.
    directory.write("traps", b"")?;
    directory.write("saved", b"")?;
    let (console, stdin) = Console::new(&directory)?;
    let shell = processes.start_shell(id, command, stdin)?;
    Ok(Started { kind, directory, console, shell })
}

/// The script of a command, checked.
async fn prepare(processes: &Arc<Processes>, request: &Exec) -> Result<Script, Error> {
    let script = Script::new(request)?;
    let Some(cwd) = request.cwd.clone() else { return Ok(script) };
    let processes = Arc::clone(processes);
    threads::run(Length::Short, move || script.in_directory(&cwd, &processes)).await?
}

/// The shell that this request asks for.
fn shell(processes: &Processes, request: &Create) -> Result<(Shell, process::Command), Error> {
    let user = command::user(processes, request.user.as_deref())?;
    let env = command::environment(processes.variables().base(user.as_ref(), false), &request.env)?;
    let cwd = command::directory(processes.home(), request.cwd.as_deref())?;
    let default = || if processes.shell().ends_with("bash") { Shell::Bash } else { Shell::Sh };
    let kind = request.shell.unwrap_or_else(default);
    let argv = script::arguments(kind);
    let program = match kind {
        Shell::Bash if processes.shell().ends_with("bash") => PathBuf::from(processes.shell()),
        _ => command::find(&argv[0], env.get(std::ffi::OsStr::new("PATH")), &cwd)?,
    };
    let command = process::Command {
        program,
        argv,
        cwd,
        env,
        user: user.filter(|user| !user.is_own()),
        stdin: process::Stdin::Empty,
        merges_stderr: false,
        inherited: None,
        kept_open: None,
        terminal: None,
        timeout: None,
    };
    Ok((kind, command))
}

/// The settings that a request names and that a session was not made with.
fn differing(known: &Create, request: &Create) -> Vec<&'static str> {
    [
        ("cwd", request.cwd.is_some() && request.cwd != known.cwd),
        ("env", !request.env.is_empty() && request.env != known.env),
        ("user", request.user.is_some() && request.user != known.user),
        ("shell", request.shell.is_some() && request.shell != known.shell),
        ("timeout_ms", request.timeout_ms.is_some() && request.timeout_ms != known.timeout_ms),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(field, _)| field)
    .collect()
}

fn exists(name: &str, differing: &[&str]) -> Error {
    let message = format!("the session {name:?} exists with other settings: {}", quoted(differing, "and"));
    Error::new(Code::Conflict, message).with_details(json!({ "reason": "exists", "differs": differing }))
}

fn gone(id: &str) -> Error {
    Error::new(Code::Gone, format!("session {:?} has ended; create a new one", shown(id))).because("ended")
}

fn shown(id: &str) -> String {
    id.chars().take(64).collect()
}
