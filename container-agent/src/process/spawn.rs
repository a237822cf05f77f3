//! From a [`Command`] to a running child.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{self, ChildStderr, ChildStdout, Stdio},
    time::Instant,
};

use cabana_protocol::{Code, Error};
use rustix::{io::Errno, process::Pid};
use tokio::net::unix::pipe;

use super::{Command, Stdin, feed::Feed, pipes::Pipes, tree, wait::Exited};

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
    pub(super) started: Instant,
}

impl Child {
    pub(super) fn pid(&self) -> u32 {
        self.exited.pid().as_raw_nonzero().get().unsigned_abs()
    }
}

/// Starts the command in a process group of its own, with nothing of the agent's but the three streams.
///
/// Fails with `not_found`, `unprocessable`, `payload_too_large` (arguments and environment) or `too_many_requests` (the machine
/// is out of processes, memory or descriptors).
pub(super) fn spawn(command: Command, mark: &str) -> Result<Child, Error> {
    let name: String = command.argv.first().iter().flat_map(|name| name.chars()).take(64).collect();
    start(command, mark).map_err(|error| failure(&name, &error))
}

fn start(command: Command, mark: &str) -> io::Result<Child> {
    let mut std_command = process::Command::new(&command.program);
    if let Some((name, arguments)) = command.argv.split_first() {
        std_command.arg0(name).args(arguments);
    }
    std_command
        .env_clear()
        .envs(&command.env)
        .env(tree::MARK, mark)
        .current_dir(&command.cwd)
        .process_group(0)
        .stdin(if matches!(command.stdin, Stdin::Empty) { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = std_command.spawn()?;
    let stdout = child.stdout.take().map(ChildStdout::into);
    let stderr = child.stderr.take().map(ChildStderr::into);
    let stdin = child.stdin.take().map(OwnedFd::from);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    // From here on a failure would leave a child that nobody owns.
    let child = Exited::new(pid).and_then(|exited| {
        let pipes = Pipes::new(stdout, stderr)?;
        let feed =
            stdin.map(|stdin| pipe::Sender::from_owned_fd(stdin).map(|pipe| Feed::new(pipe, command.stdin))).transpose()?;
        Ok(Child { exited, pipes, feed, started })
    });
    child.inspect_err(|_| {
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
        Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => {
            (Code::TooManyRequests, "the sandbox is out of processes, memory or descriptors")
        }
        _ => (Code::Internal, "the kernel refused"),
    };
    Error::new(code, format!("cannot run {name}: {why}")).with_details(serde_json::json!({ "cause": error.to_string() }))
}
