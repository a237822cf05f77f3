//! Starting a sandbox and waiting for its end.
//!
//! Each sandbox has a thread. It enters the sandbox's network and makes the namespaces for its child, so that the child is
//! PID 1 there without a process in between. The child's death signal is tied to this thread, which therefore lives as
//! long as the child.

use std::io::{IoSliceMut, PipeReader, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use tokio::sync::oneshot;

use super::UPPER_FOLLOWS;
use super::plan::Plan;
use crate::network::Network;

/// The exit code of a process ended by SIGKILL.
const KILLED: i32 = 128 + 9;

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A system call of the engine failed.
    #[error("starting the sandbox: {about}")]
    Engine {
        /// The failed step.
        about: &'static str,
        /// The kernel's error.
        source: std::io::Error,
    },
    /// Init reported this.
    #[error("setting up the sandbox: {0}")]
    Setup(String),
    /// The thread has ended, which only a panic explains.
    #[error("the sandbox's thread has ended")]
    ThreadEnded,
}

/// A running sandbox. Dropping it kills it.
#[derive(Debug)]
pub struct Sandbox {
    /// Its PID 1, as the host numbers it.
    pub pid: i32,
    /// Standard output and error of PID 1, until taken. Ends when every process that holds it has ended.
    pub output: Option<OwnedFd>,
    /// The upper directory of its root; `None` where the root is no overlay.
    pub upper: Option<Arc<OwnedFd>>,
    exit: oneshot::Receiver<i32>,
    pidfd: OwnedFd,
}

impl Sandbox {
    /// Starts what the plan says and returns when PID 1 is the agent.
    ///
    /// If the future is dropped, the sandbox is killed.
    pub async fn launch(name: &str, plan: Plan, network: Arc<Network>) -> Result<Self, LaunchError> {
        let (started, outcome) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("sandbox-{name}"))
            .stack_size(256 * 1024)
            .spawn(move || supervise(&plan, &network, started))
            .map_err(engine("making a thread"))?;
        outcome.await.map_err(|_| LaunchError::ThreadEnded)?
    }

    /// Sends a signal to PID 1. Harmless once it has ended.
    pub fn signal(&self, signal: Signal) {
        // Fails only if the process has ended.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Waits until no process of the sandbox is left and returns PID 1's exit code, or 128 + its signal. Cancel-safe; must
    /// not be called again once it has returned.
    pub async fn wait(&mut self) -> i32 {
        (&mut self.exit).await.unwrap_or(KILLED)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn engine(about: &'static str) -> impl Fn(std::io::Error) -> LaunchError {
    move |source| LaunchError::Engine { about, source }
}

type Started = oneshot::Sender<Result<Sandbox, LaunchError>>;

/// Starts a sandbox and waits for its end: the body of its thread.
fn supervise(plan: &Plan, network: &Network, started: Started) {
    let (mut child, output, upper) = match start(plan, network) {
        Ok(running) => running,
        Err(error) => {
            // The caller may have been dropped.
            let _ = started.send(Err(error));
            return;
        }
    };
    let (ended, exit) = oneshot::channel();
    let answer = Pid::from_raw(child.id().cast_signed())
        .ok_or_else(|| std::io::Error::other("no pid"))
        .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?))
        .map_err(engine("opening the process"))
        .map(|pidfd| Sandbox {
            pid: child.id().cast_signed(),
            output: Some(output.into()),
            upper: upper.map(Arc::new),
            exit,
            pidfd,
        });
    let failed = answer.is_err();
    if started.send(answer).is_err() || failed {
        // It may have ended already.
        let _ = child.kill();
    }
    let code = child.wait().map_or(KILLED, exit_code);
    // The container may have been dropped.
    let _ = ended.send(code);
}

fn start(plan: &Plan, network: &Network) -> Result<(Child, PipeReader, Option<OwnedFd>), LaunchError> {
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| engine("entering the network")(error.into()))?;
    let namespaces = UnshareFlags::NEWPID | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    #[allow(unsafe_code)]
    // SAFETY: only namespaces of this thread and its children change; file descriptors stay shared.
    unsafe {
        unshare_unsafe(namespaces).map_err(|error| engine("making namespaces")(error.into()))?;
    }
    let (mut socket, child_end) = UnixStream::pair().map_err(engine("making a socket"))?;
    let (output, writer) = std::io::pipe().map_err(engine("making a pipe"))?;
    let second = writer.try_clone().map_err(engine("making a pipe"))?;
    let mut child = Command::new("/proc/self/exe")
        .arg0("cabana-engine")
        .arg("init")
        .env_clear()
        .stdin(OwnedFd::from(child_end))
        .stdout(writer)
        .stderr(second)
        .spawn()
        .map_err(engine("starting init"))?;
    let report = send_plan(&mut socket, plan);
    match report {
        Ok((report, upper)) if report.is_empty() => Ok((child, output, upper)),
        Ok((report, _)) => Err(kill_and_reap(&mut child, LaunchError::Setup(report))),
        Err(error) => Err(kill_and_reap(&mut child, engine("talking to init")(error))),
    }
}

/// Sends the plan. Returns init's report of a failure, and the upper directory of the root; an empty report means that it has become the
/// agent.
fn send_plan(socket: &mut UnixStream, plan: &Plan) -> std::io::Result<(String, Option<OwnedFd>)> {
    serde_json::to_writer(&mut *socket, plan)?;
    socket.flush()?;
    socket.shutdown(Shutdown::Write)?;
    let (mut report, mut upper) = (Vec::new(), None);
    loop {
        let (length, directory) = receive(socket, &mut report)?;
        upper = directory.or(upper);
        if length == 0 {
            let report = report.strip_prefix(UPPER_FOLLOWS).unwrap_or(&report);
            return Ok((String::from_utf8_lossy(report).into_owned(), upper));
        }
    }
}

/// Appends what the socket holds, and takes a file descriptor that came with it.
fn receive(socket: &UnixStream, report: &mut Vec<u8>) -> std::io::Result<(usize, Option<OwnedFd>)> {
    let mut bytes = [0_u8; 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let upper = descriptors.flatten().next();
    report.extend_from_slice(&bytes[..received.bytes]);
    Ok((received.bytes, upper))
}

fn kill_and_reap(child: &mut Child, error: LaunchError) -> LaunchError {
    // Init ends by itself after a report; kill and wait make sure of it.
    let _ = child.kill();
    let _ = child.wait();
    error
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
