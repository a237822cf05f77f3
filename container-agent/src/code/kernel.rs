//! A kernel: its process, and the sockets over which it is spoken to.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cabana_protocol::{Code, Error, Signal, exec::Exit};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Channel, Connection},
    content::KernelInfo,
    kernelspec::{InterruptMode, KernelSpec},
    message::{Message, Session},
    publication,
    router::Router,
    zmtp::{self, Kind, Reader, Writer},
};
use crate::{
    process::{Command, Entry, Foreground, Input, Processes, Stdin, Stream, command},
    threads::{self, Length},
};

/// How long a kernel may take to answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How often a kernel is started that needs ports and ends at once.
const TRIES: u32 = 3;

/// How long after a question that was not answered it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// How often a socket is tried that is not there yet.
const RETRY: Duration = Duration::from_millis(5);

/// How long a kernel may leave a message unread.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// How long a kernel may take to end when it is asked to, before it is told to.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);

/// Messages that wait to be looked at.
const INCOMING: usize = 64;

/// The last bytes that it has printed, to be shown where it does not start.
const WORDS: usize = 2 << 10;

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Launch {
    /// For which language, or by which name.
    pub(super) language: String,
    /// Where.
    pub(super) cwd: Option<String>,
    /// With which variables on top of the sandbox's.
    pub(super) env: BTreeMap<String, Option<String>>,
    /// As whom.
    pub(super) user: Option<String>,
}

/// What comes from a kernel.
#[derive(Debug)]
pub(super) enum Incoming {
    /// It publishes, and is heard.
    Heard,
    /// It has done what this request asked, and all output before that has been passed on.
    Idle(String),
    /// The sentinel behind a cell's output has arrived.
    Flushed,
    /// A message on one of the other channels.
    Message(Channel, Message),
    /// What it says cannot be understood, or its socket is closed.
    Lost(String),
    /// Its process has ended.
    Ended(Option<Exit>),
}

/// A kernel that runs. Dropping it ends it.
pub(super) struct Kernel {
    spec: KernelSpec,
    info: KernelInfo,
    pid: u32,
    session: Arc<Session>,
    router: Arc<Router>,
    shell: Writer,
    stdin: Writer,
    control: Writer,
    incoming: mpsc::Receiver<Incoming>,
    signals: mpsc::Sender<Input>,
    ends: CancellationToken,
    ended: Option<Option<Exit>>,
    _tasks: JoinSet<()>,
    _connection: Connection,
}

/// Why a kernel has not started.
enum NotStarted {
    /// It cannot be started.
    Refused(Error),
    /// It was started, and does not answer.
    Ended {
        /// What it said.
        error: Error,
        /// Whether it was to take ports.
        has_ports: bool,
    },
}

impl From<Error> for NotStarted {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// What has been prepared for a start.
struct Prepared {
    spec: KernelSpec,
    connection: Connection,
    command: Command,
}

impl Kernel {
    /// Starts a kernel, and waits until it answers. Dropping the future ends it again.
    ///
    /// Fails with `unprocessable` (no such kernel, or it does not start), or as commands do.
    pub(super) async fn start(processes: &Arc<Processes>, launch: &Launch) -> Result<Self, Error> {
        let mut tries = 1;
        loop {
            match Self::try_start(processes, launch).await {
                Ok(kernel) => return Ok(kernel),
                // Somebody else may have taken one of its ports before it did.
                Err(NotStarted::Ended { has_ports: true, .. }) if tries < TRIES => tries += 1,
                Err(NotStarted::Refused(error) | NotStarted::Ended { error, .. }) => return Err(error),
            }
        }
    }

    async fn try_start(processes: &Arc<Processes>, launch: &Launch) -> Result<Self, NotStarted> {
        let router = Arc::new(Router::default());
        let session = Arc::new(Session::new()?);
        let (preparing, of, key) = (Arc::clone(processes), launch.clone(), session.key().to_owned());
        let Prepared { spec, connection, command } =
            threads::run(Length::Short, move || prepare(&preparing, &of, &key)).await??;
        let ends = CancellationToken::new();
        let foreground = processes.run_unlisted(move || Ok(command), ends.clone()).await?;
        let (pid, signals) = (foreground.process.pid, foreground.inputs().clone());
        let (sender, mut incoming) = mpsc::channel(INCOMING);
        let words = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let shown = (!spec.captures_output()).then(|| Arc::clone(&router));
        tasks.spawn(watch(foreground, shown, sender.clone(), Arc::clone(&words)));
        let limit = Instant::now() + START_LIMIT;
        let connected = tokio::select! {
            connected = timeout_at(limit, connect(&connection, &session.id)) => connected.ok(),
            _ = incoming.recv() => None,
        };
        let failed = || NotStarted::Ended { error: failure(&spec, &words), has_ports: !spec.takes_ipc() };
        let [(shell_reader, shell), (stdin_reader, stdin), (control_reader, control), (iopub, _)] =
            connected.ok_or_else(failed)?;
        for (channel, reader) in
            [(Channel::Shell, shell_reader), (Channel::Stdin, stdin_reader), (Channel::Control, control_reader)]
        {
            tasks.spawn(receive(channel, reader, Arc::clone(&session), sender.clone()));
        }
        tasks.spawn(publication::read(iopub, Arc::clone(&session), Arc::clone(&router), sender));
        let mut kernel = Self {
            info: KernelInfo::default(),
            spec: spec.clone(),
            pid,
            session,
            router,
            shell,
            stdin,
            control,
            incoming,
            signals,
            ends,
            ended: None,
            _tasks: tasks,
            _connection: connection,
        };
        match timeout_at(limit, kernel.greet()).await {
            Ok(true) => Ok(kernel),
            _ => Err(failed()),
        }
    }

    /// Asks what it is until it has answered and is heard; false where it ends.
    async fn greet(&mut self) -> bool {
        let (mut known, mut heard, mut unheard) = (false, false, 0);
        while !known || !heard {
            let id = self.session.next_id();
            if self.request(&id, "kernel_info_request", None, &json!({})).await.is_err() {
                return false;
            }
            let again = Instant::now() + ASK_AGAIN;
            while !known || !heard {
                match timeout_at(again, self.incoming.recv()).await {
                    Ok(Some(Incoming::Heard)) => heard = true,
                    Ok(Some(Incoming::Message(Channel::Shell, message))) if message.kind == "kernel_info_reply" => {
                        (self.info, known) = (message.read().unwrap_or_default(), true);
                    }
                    Ok(Some(Incoming::Ended(_) | Incoming::Lost(_)) | None) => return false,
                    Ok(Some(_)) => {}
                    Err(_) => break,
                }
            }
            // One that publishes nothing of itself is taken as it is.
            unheard += u32::from(known && !heard);
            heard |= unheard > 3;
        }
        true
    }

    /// Its specification.
    pub(super) fn spec(&self) -> &KernelSpec {
        &self.spec
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its cells.
    pub(super) fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// What it says of its language.
    pub(super) fn language_info(&self) -> &Value {
        &self.info.language_info
    }

    /// Whether it answers requests of some kinds beside a cell.
    pub(super) fn has_subshells(&self) -> bool {
        self.info.supported_features.iter().any(|feature| feature == "kernel subshells")
    }

    /// A number for a request.
    pub(super) fn next_id(&self) -> String {
        self.session.next_id()
    }

    /// Sends a request to it, or to a subshell of it.
    pub(super) async fn request(
        &mut self,
        id: &str,
        kind: &str,
        subshell: Option<&str>,
        content: &impl Serialize,
    ) -> io::Result<()> {
        limited(self.session.send(&mut self.shell, id, kind, subshell, content)).await
    }

    /// Sends a request that does not wait for cells.
    pub(super) async fn control(&mut self, id: &str, kind: &str, content: &impl Serialize) -> io::Result<()> {
        limited(self.session.send(&mut self.control, id, kind, None, content)).await
    }

    /// Answers a question of a cell's, which had this header.
    pub(super) async fn reply(&mut self, header: &[u8], text: &str) -> io::Result<()> {
        let content = json!({ "status": "ok", "value": text });
        limited(self.session.answer(&mut self.stdin, header, "input_reply", &content)).await
    }

    /// Interrupts what it runs.
    pub(super) async fn interrupt(&mut self) {
        // One that cannot be told will be ended.
        match self.spec.interrupt_mode() {
            InterruptMode::Signal => drop(self.signals.try_send(Input::Signal(Signal::INT))),
            InterruptMode::Message => {
                let id = self.next_id();
                let _ = self.control(&id, "interrupt_request", &json!({})).await;
            }
        }
    }

    /// What comes from it next. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Incoming {
        self.incoming.recv().await.unwrap_or(Incoming::Ended(None))
    }

    /// Waits until it has ended or cannot be understood, where nothing is expected of it.
    pub(super) async fn until_broken(&mut self) {
        loop {
            match self.next().await {
                Incoming::Ended(exit) => return self.note_end(exit),
                Incoming::Lost(_) => return,
                Incoming::Heard | Incoming::Idle(_) | Incoming::Flushed | Incoming::Message(..) => {}
            }
        }
    }

    /// Notes that its process has ended.
    pub(super) fn note_end(&mut self, exit: Option<Exit>) {
        self.ended = Some(exit);
    }

    /// Ends it where its sockets have failed: its process may just be ending by itself, and then says how.
    pub(super) async fn end_lost(mut self) -> Option<Exit> {
        let _ = timeout(SHUTDOWN_LIMIT, self.ended()).await;
        self.end(false).await
    }

    /// Ends it with all that it has started, after asking it to end where that is wanted; returns when all of it is gone.
    pub(super) async fn end(mut self, asks: bool) -> Option<Exit> {
        if self.ended.is_none() && asks {
            let id = self.next_id();
            if self.control(&id, "shutdown_request", &json!({ "restart": false })).await.is_ok() {
                let _ = timeout(SHUTDOWN_LIMIT, self.ended()).await;
            }
        }
        self.ends.cancel();
        self.ended().await
    }

    async fn ended(&mut self) -> Option<Exit> {
        loop {
            if let Some(exit) = self.ended {
                return exit;
            }
            if let Incoming::Ended(exit) = self.next().await {
                self.ended = Some(exit);
            }
        }
    }
}

/// Finds what is to be started, and prepares its connection. Blocks.
fn prepare(processes: &Processes, launch: &Launch, key: &str) -> Result<Prepared, Error> {
    let user = command::user(processes, launch.user.as_deref())?;
    let base = processes.variables().base(user.as_ref(), false);
    let spec = KernelSpec::find(&launch.language, &base)?;
    let mut env = spec.environment(base);
    // What a kernel colors, people and programs would have to clean.
    env.entry("NO_COLOR".into()).or_insert_with(|| "1".into());
    let env = command::environment(env, &launch.env)?;
    let cwd = command::directory(processes.home(), launch.cwd.as_deref())?;
    let user = user.filter(|user| !user.is_own());
    let connection = Connection::new(user.as_ref().map(|user| user.uid), spec.takes_ipc(), key)?;
    let mut argv = spec.argv(&connection.file());
    let find = |argv: &[String]| {
        let name = argv.first().map_or("", String::as_str);
        command::find(name, env.get(std::ffi::OsStr::new("PATH")), &cwd)
    };
    let mut program = find(&argv);
    if program.is_err() && argv.first().is_some_and(|name| name == "python") {
        // The Python that has the kernel, as Jupyter reads it. Debian's has no program of this name.
        argv[0] = "python3".to_owned();
        program = find(&argv);
    }
    let program = program.map_err(|error| {
        let message = format!("the kernel {:?} cannot be started: {}", spec.name, error.message);
        Error::new(Code::Unprocessable, message).because("kernel_start")
    })?;
    let command = Command {
        program,
        argv,
        cwd,
        env,
        user,
        stdin: Stdin::Empty,
        merges_stderr: false,
        inherited: None,
        kept_open: None,
        terminal: None,
        timeout: None,
    };
    Ok(Prepared { spec, connection, command })
}

fn failure(spec: &KernelSpec, words: &Mutex<Vec<u8>>) -> Error {
    let words = words.lock().unwrap_or_else(PoisonError::into_inner);
    let words = String::from_utf8_lossy(&words).trim().to_owned();
    Error::new(Code::Unprocessable, format!("the kernel {:?} did not start: {words}", spec.name)).because("kernel_start")
}

/// Connects all channels, as soon as they are there: shell, stdin, control, and what is published.
async fn connect(connection: &Connection, identity: &str) -> [(Reader, Writer); 4] {
    let channel = async |channel: Channel, kind: Kind, identity: &str| {
        let endpoint = connection.endpoint(channel);
        loop {
            match zmtp::connect(&endpoint, kind, identity.as_bytes()).await {
                Ok(connected) => return connected,
                Err(_) => sleep(RETRY).await,
            }
        }
    };
    [
        channel(Channel::Shell, Kind::Dealer, identity).await,
        // A question of a cell's goes to the socket that has the identity of the one which asked for the cell.
        channel(Channel::Stdin, Kind::Dealer, identity).await,
        channel(Channel::Control, Kind::Dealer, identity).await,
        channel(Channel::IoPub, Kind::Sub, "").await,
    ]
}

/// Passes on what comes on a channel.
async fn receive(channel: Channel, mut reader: Reader, session: Arc<Session>, incoming: mpsc::Sender<Incoming>) {
    loop {
        let (event, is_lost) = match session.receive(&mut reader).await {
            Ok(message) => (Incoming::Message(channel, message), false),
            Err(error) => (Incoming::Lost(error.to_string()), true),
        };
        if incoming.send(event).await.is_err() || is_lost {
            return;
        }
    }
}

/// Reads what the kernel's process prints past its protocol, until it has ended. With a router, what it prints during a cell is shown as the
/// cell's.
async fn watch(
    mut process: Foreground,
    router: Option<Arc<Router>>,
    incoming: mpsc::Sender<Incoming>,
    words: Arc<Mutex<Vec<u8>>>,
) {
    loop {
        match process.output.next().await {
            Entry::Chunk(chunk) => {
                {
                    let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                    words.extend_from_slice(&chunk.bytes);
                    let surplus = words.len().saturating_sub(WORDS);
                    words.drain(..surplus);
                }
                if let Some(router) = &router
                    && let Some(cell) = router.current()
                {
                    router.print(&cell, &String::from_utf8_lossy(&chunk.bytes), chunk.stream == Stream::Stderr).await;
                }
            }
            Entry::Gap { .. } => {}
            Entry::End(result) => {
                let _ = incoming.send(Incoming::Ended(result.exit)).await;
                return;
            }
        }
    }
}

async fn limited(sending: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    timeout(SEND_LIMIT, sending).await.map_err(io::Error::other)?
}
