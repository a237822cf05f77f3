//! From a [`Command`] to a running child.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::LazyLock,
    time::Instant,
};

use cabana_protocol::{Code, Error, exec::Tty};
use rustix::{
    fs::fchown,
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, WaitOptions, kill_process_group, waitpid},
};
use tokio::net::unix::pipe;

use super::{
    ChildHandle, Identity, Pipes, StdinWriter,
    pty::{Screen, Terminal},
    vfork::{Leads, Plan},
};
use crate::process::{Command, Stdin, supervisor::tree::MARK};

/// What a child reads that reads nothing.
static NULL: LazyLock<io::Result<File>> = LazyLock::new(|| File::options().read(true).write(true).open("/dev/null"));

/// A child that runs.
#[derive(Debug)]
pub(in crate::process) struct Child {
    pub(in crate::process) handle: ChildHandle,
    pub(in crate::process) stdio: Stdio,
    pub(in crate::process) terminal: Option<Terminal>,
    pub(in crate::process) started: Instant,
}

/// The agent's sides of a child's streams.
#[derive(Debug)]
pub(crate) struct Stdio {
    pub(crate) pipes: Pipes,
    pub(crate) stdin: Option<StdinWriter>,
}

/// Starts the command in a process group of its own, or on a terminal in a session of its own, with nothing of the agent's but
/// the three streams and what the command names. Blocks until the program has been loaded.
///
/// Fails with `not_found`, `unprocessable`, `forbidden` (the agent may not become the user), `payload_too_large` (arguments and
/// environment) or `too_many_requests` (the sandbox is out of processes, memory, terminals or descriptors).
pub(in crate::process) fn spawn(command: Command, mark: &str) -> Result<Child, Error> {
    attempt(command, mark, |plan, command| match command.terminal {
        None => on_pipes(plan, command),
        Some(size) => on_terminal(plan, command, size),
    })
}

/// Starts the command as the leader of a session of processes of its own that has no terminal, reading `stdin` and with nothing to
/// write to.
///
/// Fails as [`spawn`] does.
pub(in crate::process) fn spawn_apart(command: Command, mark: &str, stdin: &OwnedFd) -> Result<ChildHandle, Error> {
    attempt(command, mark, |plan, command| {
        let null = null()?;
        let streams = [Some(stdin.as_fd()), Some(null), Some(null)];
        let pid = plan.leads(Leads::Session).streams(streams).user(command.user.as_ref()).spawn()?;
        own(pid, Ok)
    })
}

/// Starts a program in a group of its own, on the agent's own output and without input.
pub(in crate::process) fn beside(
    program: &Path,
    argv: &[&OsStr],
    env: &BTreeMap<OsString, OsString>,
    cwd: &Path,
    user: Option<&Identity>,
) -> io::Result<ChildHandle> {
    let env = env.iter().map(|(name, value)| (&**name, &**value));
    let plan = Plan::new(program, argv.iter().copied(), env, cwd)?;
    own(plan.streams([Some(null()?), None, None]).user(user).spawn()?, Ok)
}

/// Prepares what the command has in every form, has `start` start it, and says what went wrong.
fn attempt<T>(command: Command, mark: &str, start: impl FnOnce(Plan<'_>, &mut Command) -> io::Result<T>) -> Result<T, Error> {
    let name: String = command.argv.first().iter().flat_map(|name| name.chars()).take(64).collect();
    let becomes = command.user.is_some();
    let mut command = command;
    command.env.insert(MARK.into(), mark.into());
    let (program, argv, env, cwd) = (
        std::mem::take(&mut command.program),
        std::mem::take(&mut command.argv),
        std::mem::take(&mut command.env),
        std::mem::take(&mut command.cwd),
    );
    let pairs = env.iter().map(|(name, value)| (&**name, &**value));
    let plan = Plan::new(&program, argv.iter().map(OsStr::new), pairs, &cwd);
    let started = plan.and_then(|plan| start(plan, &mut command));
    drop(command.kept_open);
    started.map_err(|error| match Errno::from_io_error(&error) {
        // The latter in a user namespace that does not have the user.
        Some(Errno::PERM | Errno::INVAL) if becomes => {
            Error::new(Code::Forbidden, "the agent may not run commands as another user").because("user")
        }
        _ => failure(&name, &error),
    })
}

fn on_pipes(plan: Plan<'_>, command: &mut Command) -> io::Result<Child> {
    let started = Instant::now();
    let pipe = || pipe_with(PipeFlags::CLOEXEC);
    let stdin = match command.stdin {
        Stdin::Empty | Stdin::File(_) => None,
        Stdin::Bytes(_) | Stdin::Live => Some(pipe()?),
    };
    let (stdout, child_stdout) = pipe()?;
    let (stderr, child_stderr) = if command.merges_stderr { (None, None) } else { Some(pipe()?).unzip() };
    let child_stdin = match (&stdin, &command.stdin) {
        (Some((child_stdin, _)), _) => child_stdin.as_fd(),
        (None, Stdin::File(file)) => file.as_fd(),
        (None, _) => null()?,
    };
    let child_stderr = child_stderr.as_ref().unwrap_or(&child_stdout).as_fd();
    if let Some(user) = &command.user {
        // To open `/dev/stdout` anew, which leads to the pipe, takes its owner's right.
        [Some(child_stdout.as_fd()), Some(child_stderr), stdin.as_ref().map(|(child_stdin, _)| child_stdin.as_fd())]
            .into_iter()
            .flatten()
            .try_for_each(|end| fchown(end, Some(user.uid), Some(user.gid)))?;
    }
    let plan = plan.streams([Some(child_stdin), Some(child_stdout.as_fd()), Some(child_stderr)]);
    let pid = plan.inherited(command.inherited.as_ref()).user(command.user.as_ref()).spawn()?;
    own(pid, |handle| {
        let pipes = Pipes::new(Some(stdout), stderr)?;
        let content = std::mem::replace(&mut command.stdin, Stdin::Empty);
        let stdin = stdin.map(|(_, stdin)| pipe::Sender::from_owned_fd(stdin).map(|pipe| StdinWriter::of_pipe(pipe, content)));
        Ok(Child { handle, stdio: Stdio { pipes, stdin: stdin.transpose()? }, terminal: None, started })
    })
}

fn on_terminal(plan: Plan<'_>, command: &mut Command, size: Tty) -> io::Result<Child> {
    let started = Instant::now();
    let (terminal, other_side) = Terminal::open(size, command.user.as_ref().map(|user| user.uid))?;
    let plan = plan.leads(Leads::Terminal).streams([Some(other_side.as_fd()); 3]);
    let pid = plan.inherited(command.inherited.as_ref()).user(command.user.as_ref()).spawn()?;
    own(pid, |handle| {
        let content = std::mem::replace(&mut command.stdin, Stdin::Empty);
        let stdin = Some(StdinWriter::of_terminal(terminal.clone(), content));
        let pipes = Pipes::of_terminal(Screen::new(terminal.clone(), other_side));
        Ok(Child { handle, stdio: Stdio { pipes, stdin }, terminal: Some(terminal), started })
    })
}

fn null() -> io::Result<BorrowedFd<'static>> {
    match &*NULL {
        Ok(null) => Ok(null.as_fd()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// Makes a started child one that is owned. A failure would otherwise leave one that nobody owns.
fn own<T>(pid: Pid, surround: impl FnOnce(ChildHandle) -> io::Result<T>) -> io::Result<T> {
    ChildHandle::new(pid).and_then(surround).inspect_err(|_| {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::empty());
    })
}

fn failure(name: &str, error: &io::Error) -> Error {
    let (code, why) = match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR) => (Code::NotFound, "it, its interpreter or the working directory does not exist"),
        Some(Errno::ACCESS | Errno::PERM) => (Code::Unprocessable, "permission denied"),
        Some(Errno::NOEXEC) => (Code::Unprocessable, "not in an executable format"),
        Some(Errno::TOOBIG) => (Code::PayloadTooLarge, "its arguments and environment are too long"),
        Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::NOSPC) => {
            (Code::TooManyRequests, "the sandbox is out of processes, memory, terminals or descriptors")
        }
        _ => (Code::Internal, "the kernel refused"),
    };
    Error::new(code, format!("cannot run {name}: {why}")).with_details(serde_json::json!({ "cause": error.to_string() }))
}
