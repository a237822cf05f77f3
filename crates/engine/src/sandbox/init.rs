//! The first process of a sandbox, until it becomes the agent.
//!
//! It is the engine's own binary, executed again: the kernel lets only a process with one thread change its mount
//! namespace. Its standard input is a socket, over which it receives the plan and reports a failure. End of file without a
//! report means that the agent runs.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::plan::Plan;
use super::{UPPER_FOLLOWS, privileges, root};

/// Exit code of a sandbox that could not be set up; Docker uses the same.
const SETUP_FAILED: i32 = 125;

/// Sets the sandbox up and becomes its PID 1. Returns only the exit code of a failure.
pub fn run() -> i32 {
    let mut engine = match take_engine_socket() {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("init is started by the engine, not by hand: {error:#}");
            return SETUP_FAILED;
        }
    };
    let Err(error) = become_agent(&mut engine);
    // The engine may have ended too.
    let _ = write!(engine, "{error:#}");
    SETUP_FAILED
}

/// Takes the socket away from standard input, so that the agent does not inherit it.
fn take_engine_socket() -> Result<UnixStream> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("asking for the death signal")?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::net::getsockname(&socket).context("standard input is no socket")?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(UnixStream::from(socket))
}

fn become_agent(engine: &mut UnixStream) -> Result<Infallible> {
    let mut text = Vec::new();
    engine.read_to_end(&mut text).context("reading the plan")?;
    let plan: Plan = serde_json::from_slice(&text).context("understanding the plan")?;
    check_engine(engine)?;
    for cgroup in &plan.cgroups {
        // 0 means the writer.
        fs::write(cgroup.directory.join("cgroup.procs"), "0")
            .with_context(|| format!("joining the cgroup {}", cgroup.directory.display()))?;
    }
    // Leaves the engine's terminal, so that neither Ctrl-C nor /dev/tty reaches across.
    rustix::process::setsid().context("making a session")?;
    #[allow(unsafe_code)]
    // SAFETY: the process has one thread, and its table of file descriptors is not unshared.
    unsafe {
        unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWCGROUP).context("making a mount namespace")?;
    }
    // Without this, mounts made here would appear on the host.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("making mounts private")?;
    rustix::system::sethostname(plan.hostname.as_bytes()).context("setting the host name")?;
    if let Some(upper) = root::enter(&plan)? {
        send_upper(engine, &upper)?;
    }
    privileges::drop_capabilities()?;
    check_engine(engine)?;
    reset_signals_and_umask();
    close_other_descriptors()?;
    execute(&plan)
}

/// Lets the engine read what the sandbox changes: nobody else has a way to the directory.
fn send_upper(engine: &UnixStream, upper: &OwnedFd) -> Result<()> {
    let descriptors = [upper.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(engine, &[IoSlice::new(UPPER_FOLLOWS)], &mut control, SendFlags::empty()).context("passing the upper directory")?;
    Ok(())
}

/// Fails if the engine has ended. One that ended before the death signal was set sends none, but its end of the socket is closed.
fn check_engine(engine: &UnixStream) -> Result<()> {
    let mut descriptors = [PollFd::new(engine, PollFlags::empty())];
    poll(&mut descriptors, Some(&Timespec::default())).context("looking for the engine")?;
    if descriptors[0].revents().contains(PollFlags::HUP) {
        bail!("the engine has ended");
    }
    Ok(())
}

/// The engine's parent may have made it ignore signals (a shell does so for background jobs) or set a umask. The agent
/// starts with the defaults.
fn reset_signals_and_umask() {
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    for signal in 1..=64 {
        #[allow(unsafe_code)]
        // SAFETY: a default action installs no code of ours. Numbers that cannot be set are refused, harmlessly.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Marks every file descriptor but the three standard ones to be closed by exec: one that the engine inherited could lead
/// back to the host's file system.
fn close_other_descriptors() -> Result<()> {
    let (first, last, flags) = (3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    #[allow(unsafe_code)]
    // SAFETY: only flags of file descriptors change; nothing is closed before the program is replaced.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("closing inherited files") }
}

fn execute(plan: &Plan) -> Result<Infallible> {
    let (program, arguments) = plan.argv.split_first().context("no command")?;
    let directory = if fs::metadata("/workspace").is_ok() { "/workspace" } else { "/" };
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(plan.env.iter().map(|(name, value)| (name, value)))
        .current_dir(directory)
        .exec();
    Err(error).with_context(|| format!("executing {program}"))
}
