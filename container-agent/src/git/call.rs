//! One run of git, and what comes of it.

use std::{
    ffi::OsString,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use cabana_protocol::{
    Code, Error,
    exec::Exit,
    git::{Person, Reason, TransferEvent},
    names::invalid_field,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{credentials::PassedCredentials, environment, failure, progress::Progress};
use crate::{
    Agent,
    dispatch::Channel,
    process::{self, Chunk, Entry, Identity, Inherited, Stdin, Stream, command},
};

/// How long git may take for what it does without a remote.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(120);

/// The last bytes of stderr that are kept.
const COMPLAINT_BYTES: usize = 16 << 10;

/// What git is to do.
#[derive(Debug)]
pub(super) struct Call {
    arguments: Vec<String>,
    stdin: Bytes,
    variables: Vec<(&'static str, String)>,
    settings: Vec<(String, String)>,
    credentials: Option<PassedCredentials>,
    timeout: Duration,
}

/// The caller of a transfer.
#[derive(Debug)]
pub(super) struct Caller {
    events: mpsc::Sender<TransferEvent>,
    cancel: CancellationToken,
}

/// The output of a run.
#[derive(Debug)]
pub(super) struct Output {
    /// What it printed, up to the limit.
    pub(super) stdout: Vec<u8>,
    /// There was more. Then git has been ended.
    pub(super) truncated: bool,
    /// Its exit code, if that is not 0.
    pub(super) failed: Option<i32>,
    /// The end of its stderr, without secrets.
    pub(super) complaint: String,
    /// What must not be repeated.
    pub(super) secrets: Vec<String>,
}

impl Output {
    /// What it printed, if it succeeded.
    pub(super) fn success(self) -> Result<Self, Error> {
        match self.failed {
            None => Ok(self),
            Some(_) => Err(failure::failure(&self)),
        }
    }
}

impl<O: cabana_protocol::Streaming<Event = TransferEvent>> From<Channel<O>> for Caller {
    fn from(channel: Channel<O>) -> Self {
        Self { events: channel.events, cancel: channel.cancel }
    }
}

impl Call {
    /// Git with these arguments.
    pub(super) fn new<const N: usize>(arguments: [&str; N]) -> Self {
        Self {
            arguments: arguments.map(str::to_owned).into(),
            stdin: Bytes::new(),
            variables: Vec::new(),
            settings: Vec::new(),
            credentials: None,
            timeout: LOCAL_TIMEOUT,
        }
    }

    /// And these.
    pub(super) fn arguments(mut self, more: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(more.into_iter().map(Into::into));
        self
    }

    /// It reads this.
    pub(super) fn stdin(mut self, bytes: impl Into<Bytes>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// With a variable.
    pub(super) fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// As this person, both author and committer, where one is given.
    pub(super) fn author(self, person: Option<&Person>) -> Result<Self, Error> {
        let Some(Person { name, email }) = person else { return Ok(self) };
        let fit = |text: &str| !text.trim().is_empty() && !text.contains(|char: char| char.is_control() || "<>".contains(char));
        if !fit(name) || !fit(email) {
            return Err(invalid_field("author", "a name and an email, without control characters, < and >"));
        }
        let call = self.variable("GIT_AUTHOR_NAME", name).variable("GIT_COMMITTER_NAME", name);
        Ok(call.variable("GIT_AUTHOR_EMAIL", email).variable("GIT_COMMITTER_EMAIL", email))
    }

    /// With settings that go before the repository's own.
    pub(super) fn settings(mut self, settings: impl IntoIterator<Item = (String, String)>) -> Self {
        self.settings.extend(settings);
        self
    }

    /// With what a remote asks for.
    pub(super) fn credentials(mut self, credentials: Option<PassedCredentials>) -> Self {
        self.settings.extend(credentials.as_ref().map(PassedCredentials::setting));
        self.credentials = credentials;
        self
    }

    /// For no longer than this.
    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs git in this directory. Dropping the future ends it, with all it started; so does the caller's cancel.
    ///
    /// Fails where git cannot be run or does not end by itself; what it refuses is in the output.
    pub(super) async fn run(self, agent: &Agent, directory: &OwnedFd, caller: Option<&Caller>) -> Result<Output, Error> {
        let timeout = self.timeout;
        let secrets = self.credentials.as_ref().map(PassedCredentials::secrets).unwrap_or_default();
        let cancel = caller.map_or_else(CancellationToken::new, |caller| caller.cancel.child_token());
        let (prepared, directory) = (agent.clone(), directory.try_clone().map_err(|error| Error::internal(error.to_string()))?);
        let command = move || self.command(&prepared, directory);
        let mut attended = agent.processes.run_unlisted(command, cancel).await?;
        let mut heard = Captured::new(agent.limits.git_output_bytes);
        let mut progress = Progress::default();
        let failed = loop {
            match attended.output.next().await {
                Entry::Chunk(Chunk { stream: Stream::Stdout, bytes, .. }) if heard.print(&bytes) => {}
                Entry::Chunk(Chunk { stream: Stream::Stdout, .. }) => break None,
                Entry::Chunk(Chunk { bytes, .. }) => {
                    heard.complain(&bytes);
                    progress.read(&bytes, |event| {
                        // Progress is best effort: if the channel is full, drop this event.
                        let _ = caller.map(|caller| caller.events.try_send(event));
                    });
                }
                Entry::Gap { .. } => {}
                Entry::End(result) => break judge(result.exit, timeout)?,
            }
        };
        let complaint = failure::clean(&String::from_utf8_lossy(&heard.stderr), &secrets);
        Ok(Output { stdout: heard.stdout, truncated: heard.truncated, failed, complaint, secrets })
    }

    fn command(mut self, agent: &Agent, directory: OwnedFd) -> Result<process::Command, Error> {
        let user = agent.processes.user().map(Identity::look_up).transpose()?;
        let base = agent.processes.variables().base(user.as_ref(), false);
        let user = user.filter(|user| !user.is_own());
        let program = command::find("git", base.get::<std::ffi::OsStr>("PATH".as_ref()), Path::new("/"));
        let program = program.map_err(|_| failure::refusal(Code::Unprocessable, Reason::NoGit, "the sandbox has no git"))?;
        let stall = agent.limits.git_stall.as_millis().div_ceil(1_000).to_string();
        self.settings.push(("http.lowSpeedTime".to_owned(), stall));
        let mut env = environment::environment(base, agent.fs.roots().paths(), &self.settings);
        env.extend(self.variables.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
        Ok(process::Command {
            program,
            argv: [vec!["git".to_owned()], self.arguments].concat(),
            // What was opened beneath the roots, whatever its path has come to mean.
            cwd: format!("/proc/self/fd/{}", directory.as_raw_fd()).into(),
            env,
            user,
            stdin: if self.stdin.is_empty() { Stdin::Empty } else { Stdin::Bytes(self.stdin) },
            merges_stderr: false,
            inherited: self
                .credentials
                .map(PassedCredentials::into_descriptor)
                .map(|descriptor| Inherited { number: descriptor.as_raw_fd(), descriptor }),
            kept_open: Some(directory),
            terminal: None,
            timeout: Some(self.timeout),
        })
    }
}

/// The exit code, if that is not 0.
fn judge(exit: Option<Exit>, timeout: Duration) -> Result<Option<i32>, Error> {
    match exit {
        Some(Exit::Exited { code: 0 }) => Ok(None),
        Some(Exit::Exited { code }) => Ok(Some(code)),
        Some(Exit::TimedOut) => Err(Error::new(Code::Timeout, format!("git did not finish within {} ms", timeout.as_millis()))),
        Some(Exit::Cancelled | Exit::Lost) | None => Err(Error::new(Code::Interrupted, "git was stopped before it had finished")),
        Some(Exit::OomKilled) => {
            Err(failure::refusal(Code::Unprocessable, Reason::Other, "git was killed: the sandbox is out of memory"))
        }
        Some(Exit::Signalled { signal }) => {
            Err(failure::refusal(Code::Unprocessable, Reason::Other, &format!("git was killed by {signal}")))
        }
    }
}

/// The output so far.
#[derive(Debug)]
struct Captured {
    stdout: Vec<u8>,
    limit: usize,
    truncated: bool,
    stderr: Vec<u8>,
}

impl Captured {
    fn new(limit: usize) -> Self {
        Self { stdout: Vec::new(), limit, truncated: false, stderr: Vec::new() }
    }

    /// Takes some of stdout; false when that was too much.
    fn print(&mut self, bytes: &[u8]) -> bool {
        let room = (self.limit - self.stdout.len()).min(bytes.len());
        self.stdout.extend_from_slice(&bytes[..room]);
        self.truncated = room < bytes.len();
        !self.truncated
    }

    /// Takes some of stderr, and forgets what came first.
    fn complain(&mut self, bytes: &[u8]) {
        self.stderr.extend_from_slice(bytes);
        let surplus = self.stderr.len().saturating_sub(COMPLAINT_BYTES);
        self.stderr.drain(..surplus);
    }
}
