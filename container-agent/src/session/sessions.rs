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
    exec::{DEFAULT_TIMEOUT_MS, Exec},
    session::{self, Create, Shell},
};
use futures_util::FutureExt;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    console::Console,
    directory::Directory,
    owner::{Owner, Ties, Turn},
    run::Command,
    script::{self, Script},
};
use crate::{
    Limits,
    exec::command,
    limits,
    process::{self, Attended, Journal, Processes, Record},
};

/// Commands that may wait for their turn in one session.
const WAITING: usize = 64;

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    id: String,
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
pub(crate) struct Place {
    session: Arc<Session>,
    turn: Waiting,
    waiting: OwnedSemaphorePermit,
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    incarnation: String,
    limit: usize,
    grace: Duration,
    places: Arc<Semaphore>,
    created: AtomicU64,
    /// Those that live, by their number. Locked for a look-up at a time, never across an await.
    known: Mutex<BTreeMap<u64, Arc<Session>>>,
}

impl Session {
    /// As callers see it.
    pub(super) fn describe(&self) -> session::Session {
        let created_at = humantime::format_rfc3339_millis(self.created_at).to_string();
        session::Session { session: self.id.clone(), shell: self.kind, pid: self.pid, created_at }
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
            places: Arc::new(Semaphore::new(limits.sessions)),
            created: AtomicU64::new(0),
            known: Mutex::default(),
        }
    }

    /// Those that live, by their creation.
    pub(super) fn list(&self) -> Vec<Arc<Session>> {
        self.with(|known| known.values().cloned().collect())
    }

    /// The session of this id.
    ///
    /// Fails with `gone` for one that has ended, or is of another incarnation, else with `not_found`.
    pub(super) fn find(&self, id: &str) -> Result<Arc<Session>, Error> {
        let parts = id.rsplit_once("-s").and_then(|(incarnation, number)| Some((incarnation, number.parse::<u64>().ok()?)));
        match parts {
            Some((own, number)) if own == self.incarnation && (1..=self.created.load(Ordering::Relaxed)).contains(&number) => {
                self.with(|known| known.get(&number).cloned()).ok_or_else(|| gone(id))
            }
            Some((other, _)) if other != self.incarnation && other.len() == self.incarnation.len() => Err(gone(id)),
            _ => Err(Error::not_found(format!("there is no session {:?}", shown(id)))),
        }
    }

    /// Starts a session, and waits until its shell reads. Dropping the future ends it again.
    pub(super) async fn create(&self, processes: &Processes, request: &Create) -> Result<Arc<Session>, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| limits::reached(self.limit, "sessions live already"))?;
        let (kind, command) = shell(processes, request)?;
        let directory = Directory::new(command.user.as_ref().map(|user| user.uid))?;
        directory.write("start", script::start(kind, directory.path()).as_bytes())?;
        // The shell's user cannot make files there, but write to these.
        directory.write("traps", b"")?;
        directory.write("saved", b"")?;
        let (console, stdin) = Console::new(&directory)?;
        let number = self.created.fetch_add(1, Ordering::Relaxed) + 1;
        let id = format!("{}-s{number}", self.incarnation);
        let shell = processes.start_shell(&id, command, stdin)?;
        let (turns, end) = (Arc::new(Semaphore::new(1)), CancellationToken::new());
        let (owner, queue) = mpsc::channel(1);
        let waiting = Arc::new(Semaphore::new(WAITING));
        let (pid, created_at) = (shell.pid(), SystemTime::now());
        let session =
            Arc::new(Session { id, kind, pid, created_at, owner, turns: Arc::clone(&turns), waiting, end: end.clone() });
        let ties = Ties {
            end: end.clone(),
            agent_ends: processes.ending().clone(),
            tasks: processes.tasks().clone(),
            grace: self.grace,
            turns,
        };
        let (ready, reads) = oneshot::channel();
        let owner = Owner { shell, kind, directory, console, ties, runs: 0, status: 0 };
        processes.tasks().spawn(async move {
            owner.serve(queue, ready).await;
            drop(place);
        });
        let abandoned = end.drop_guard();
        reads.await.map_err(|_| Error::new(Code::Unprocessable, "the shell ended at once"))?;
        abandoned.disarm();
        self.with(|known| known.insert(number, Arc::clone(&session)));
        Ok(session)
    }

    /// Takes a place in the queue of this session.
    ///
    /// Fails with `not_found`, `gone`, `too_many_requests`.
    pub(crate) fn line_up(&self, id: &str) -> Result<Place, Error> {
        let session = self.find(id)?;
        let waiting = Arc::clone(&session.waiting).try_acquire_owned();
        let waiting = waiting.map_err(|_| limits::reached(WAITING, "commands wait for this session already"))?;
        let mut turn: Waiting = Box::pin(Arc::clone(&session.turns).acquire_owned());
        // Only being polled puts it into the queue.
        if let Some(turn_at_once) = turn.as_mut().now_or_never() {
            turn = Box::pin(std::future::ready(turn_at_once));
        }
        Ok(Place { session, turn, waiting })
    }

    /// Runs a command in a session, once its turn has come; `None` when `cancel` is set before that. Dropping the future gives up
    /// the place.
    ///
    /// Fails with `invalid_request`, `not_found` (directory), `gone`, `too_many_requests`.
    pub(crate) async fn attend(
        &self,
        processes: &Processes,
        place: Place,
        request: Exec,
        cancel: CancellationToken,
    ) -> Result<Option<(Arc<Record>, Attended)>, Error> {
        let script = Script::new(&request, processes)?;
        let Place { session, turn, waiting } = place;
        let Some(permit) = cancel.run_until_cancelled(turn).await else { return Ok(None) };
        drop(waiting);
        let gone = || gone(&session.id);
        let permit = permit.map_err(|_| gone())?;
        let (stdin, timeout) = (command::stdin(&request), request.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS));
        let (journal, output) = Journal::attended();
        let (place, inputs) = processes.enlist(session.pid, request, journal.clone())?;
        let record = Arc::clone(&place.record);
        let attended = Attended::new(&record, output, cancel.clone());
        let timeout = Duration::from_millis(timeout);
        let command = Command { place, script, stdin, timeout, journal, inputs, cancel };
        let (begun, begins) = oneshot::channel();
        session.owner.send(Turn { command, begun, permit }).await.map_err(|_| gone())?;
        begins.await.map_err(|_| gone())??;
        Ok(Some((record, attended)))
    }

    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<u64, Arc<Session>>) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, session| !session.owner.is_closed());
        look(&mut known)
    }
}

/// The shell that this request asks for.
fn shell(processes: &Processes, request: &Create) -> Result<(Shell, process::Command), Error> {
    let user = command::user(processes, request.user.as_deref())?;
    let env = command::environment(command::base(processes.env(), user.as_ref(), false), &request.env)?;
    let cwd = command::directory(processes.home(), request.cwd.as_deref())?;
    let default = || if processes.shell().ends_with("bash") { Shell::Bash } else { Shell::Sh };
    let kind = request.shell.unwrap_or_else(default);
    let argv = script::arguments(kind);
    let program = match kind {
        Shell::Bash if processes.shell().ends_with("bash") => PathBuf::from(processes.shell()),
        _ => command::find(&argv[0], env.get(std::ffi::OsStr::new("PATH")), &cwd)?,
    };
    let stdin = process::Stdin::Empty;
    let user = user.filter(|user| !user.is_own());
    Ok((kind, process::Command { program, argv, cwd, env, user, stdin, inherited: None, terminal: None, timeout: None }))
}

fn gone(id: &str) -> Error {
    Error::new(Code::Gone, format!("session {:?} has ended", shown(id)))
}

fn shown(id: &str) -> String {
    id.chars().take(64).collect()
}
