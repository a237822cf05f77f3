//! From a [`Command`] to a running child.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{self, ChildStderr, ChildStdout, Stdio},
    time::Instant,
};

use cabana_protocol::{Code, Error, exec::Tty};
use rustix::{
    io::{Errno, FdFlags, fcntl_setfd},
    process::Pid,
};
use tokio::net::unix::pipe;

use super::{
    Command, Stdin,
    exited::Exited,
    feed::Feed,
    pipes::Pipes,
    precedence,
    terminal::{Screen, Terminal},
    tree,
    users::Identity,
};

/// Marks every descriptor that this process was started with, but for the three streams, so that no child inherits it.
#[allow(unsafe_code)]
pub fn keep_descriptors() -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: close_range(2) with CLOSE_RANGE_CLOEXEC closes nothing and touches no memory. musl has no function for it.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A child that runs.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) exited: Exited,
    pub(super) pipes: Pipes,
    pub(super) feed: Option<Feed>,
    pub(super) terminal: Option<Terminal>,
    pub(super) started: Instant,
}

impl Child {
    pub(super) fn pid(&self) -> u32 {
        self.exited.pid().as_raw_nonzero().get().unsigned_abs()
    }
}

/// Starts the command in a process group of its own, or on a terminal in a session of its own, with nothing of the agent's but
/// the three streams and what the command names.
///
/// Fails with `not_found`, `unprocessable`, `forbidden` (the agent may not become the user), `payload_too_large` (arguments and
/// environment) or `too_many_requests` (the machine is out of processes, memory, terminals or descriptors).
pub(super) fn spawn(command: Command, mark: &str) -> Result<Child, Error> {
    attempt(command, mark, |std_command, command, started| match command.terminal {
        None => on_pipes(std_command, command.stdin, command.user, command.inherited, started),
        Some(size) => on_terminal(std_command, size, command.stdin, command.user, started),
    })
}

/// Makes what the command has in every form, has `start` start it, and says what went wrong.
fn attempt<T>(
    command: Command,
    mark: &str,
    start: impl FnOnce(process::Command, Command, Instant) -> io::Result<T>,
) -> Result<T, Error> {
    let name: String = command.argv.first().iter().flat_map(|name| name.chars()).take(64).collect();
    let becomes = command.user.is_some();
    let mut std_command = process::Command::new(&command.program);
    if let Some((name, arguments)) = command.argv.split_first() {
        std_command.arg0(name).args(arguments);
    }
    std_command.env_clear().envs(&command.env).env(tree::MARK, mark).current_dir(&command.cwd);
    start(std_command, command, Instant::now()).map_err(|error| match Errno::from_io_error(&error) {
        // The latter in a user namespace that does not have the user.
        Some(Errno::PERM | Errno::INVAL) if becomes => {
            Error::new(Code::Forbidden, "the agent may not run commands as another user")
        }
        _ => failure(&name, &error),
    })
}

fn on_pipes(
    mut command: process::Command,
    stdin: Stdin,
    user: Option<Identity>,
    inherited: Option<OwnedFd>,
    started: Instant,
) -> io::Result<Child> {
    command
        .process_group(0)
        .stdin(if matches!(stdin, Stdin::Empty) { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Without anything to do between fork and exec, std takes posix_spawn, which is faster.
    if user.is_some() || inherited.is_some() {
        before_exec(&mut command, move || {
            inherited.as_ref().map_or(Ok(()), |descriptor| fcntl_setfd(descriptor, FdFlags::empty()))?;
            user.as_ref().map_or(Ok(()), Identity::assume)
        });
    }
    let mut child = precedence::spawn(|| command.spawn())?;
    let stdout = child.stdout.take().map(ChildStdout::into);
    let stderr = child.stderr.take().map(ChildStderr::into);
    let pipe = child.stdin.take().map(OwnedFd::from);
    own(&child, |exited| {
        let pipes = Pipes::new(stdout, stderr)?;
        let feed = pipe.map(|pipe| pipe::Sender::from_owned_fd(pipe).map(|pipe| Feed::of_pipe(pipe, stdin))).transpose()?;
        Ok(Child { exited, pipes, feed, terminal: None, started })
    })
}

/// Starts a program of a group of its own, on streams that are set already.
pub(super) fn beside(mut command: process::Command, user: Option<Identity>) -> io::Result<Exited> {
    command.process_group(0);
    if let Some(user) = user {
        before_exec(&mut command, move || user.assume());
    }
    let child = precedence::spawn(|| command.spawn())?;
    own(&child, Ok)
}

/// Starts the command as the leader of a session of processes of its own that has no terminal, reading `stdin` and with nothing to
/// write to.
///
/// Fails as [`spawn`] does.
pub(super) fn spawn_apart(command: Command, mark: &str, stdin: OwnedFd) -> Result<Exited, Error> {
    attempt(command, mark, |mut std_command, command, _| {
        std_command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null());
        before_exec(&mut std_command, move || {
            rustix::process::setsid()?;
            command.user.as_ref().map_or(Ok(()), Identity::assume)
        });
        let child = precedence::spawn(|| std_command.spawn())?;
        own(&child, Ok)
    })
}

fn on_terminal(
    mut command: process::Command,
    size: Tty,
    stdin: Stdin,
    user: Option<Identity>,
    started: Instant,
) -> io::Result<Child> {
    let (terminal, other_side) = Terminal::open(size, user.as_ref().map(|user| user.uid))?;
    command.stdin(other_side.try_clone()?).stdout(other_side.try_clone()?).stderr(other_side.try_clone()?);
    before_exec(&mut command, move || {
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        user.as_ref().map_or(Ok(()), Identity::assume)
    });
    let child = precedence::spawn(|| command.spawn())?;
    own(&child, |exited| {
        let feed = Some(Feed::of_terminal(terminal.clone(), stdin));
        let pipes = Pipes::of_terminal(Screen::new(terminal.clone(), other_side));
        Ok(Child { exited, pipes, feed, terminal: Some(terminal), started })
    })
}

/// Has the child do this before it becomes the command. It may only make system calls: what other threads of the agent were doing
/// at the fork, such as to allocate, is never finished in the child.
#[allow(unsafe_code)]
fn before_exec(command: &mut process::Command, mut calls: impl FnMut() -> rustix::io::Result<()> + Send + Sync + 'static) {
    // SAFETY: all callers make nothing but system calls, directly (rustix's Linux backend), on values made before the fork; an
    // error is a number, so that no path allocates or takes a lock.
    unsafe { command.pre_exec(move || Ok(calls()?)) };
}

/// Makes a started child one that is owned. A failure would otherwise leave one that nobody owns.
fn own<T>(child: &process::Child, surround: impl FnOnce(Exited) -> io::Result<T>) -> io::Result<T> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    precedence::expose(pid);
    Exited::new(pid).and_then(surround).inspect_err(|_| {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
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
