//! The first process of a sandbox, until it becomes the agent.
//!
//! It is a fresh start of the engine's own binary and therefore has one thread, as the kernel wants of a
//! process that rearranges its mounts. Its standard input is a socket: the plan comes in, the reason of a
//! failure goes out, and an end of file without a reason tells the engine that the agent runs.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::plan::Plan;
use super::{privileges, root};

/// Exit code of a sandbox that could not be set up; Docker uses the same.
const SETUP_FAILED: i32 = 125;

/// Sets the sandbox up and becomes its PID 1. Returns only the exit code of a failure.
pub fn run() -> i32 {
    let mut engine = match connection() {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("init is started by the engine, not by hand: {error:#}");
            return SETUP_FAILED;
        }
    };
    let Err(error) = become_agent(&mut engine);
    // If the engine is gone too, nobody is left to tell.
    let _ = write!(engine, "{error:#}");
    SETUP_FAILED
}

/// Takes the socket away from standard input, so that the agent does not inherit it.
fn connection() -> Result<UnixStream> {
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
    engine_is_alive(engine)?;
    for cgroup in &plan.cgroups {
        // 0 means the writer.
        fs::write(cgroup.directory.join("cgroup.procs"), "0")
            .with_context(|| format!("joining the cgroup {}", cgroup.directory.display()))?;
    }
    // Away from the engine's terminal: neither its Ctrl-C nor /dev/tty may connect the two.
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
    root::enter(&plan)?;
    privileges::drop_all_but_kept()?;
    engine_is_alive(engine)?;
    forget_inherited_habits();
    close_everything_else()?;
    execute(&plan)
}

/// An engine that died before the death signal was asked for sends none; its end of the socket is closed.
fn engine_is_alive(engine: &UnixStream) -> Result<()> {
    let mut descriptors = [PollFd::new(engine, PollFlags::empty())];
    poll(&mut descriptors, Some(&Timespec::default())).context("looking for the engine")?;
    if descriptors[0].revents().contains(PollFlags::HUP) {
        bail!("the engine is gone");
    }
    Ok(())
}

/// The engine's parent may have made it ignore signals (a shell does so for its background jobs) or restricted
/// its files' modes; the agent starts like a process after boot.
fn forget_inherited_habits() {
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    for signal in 1..=64 {
        #[allow(unsafe_code)]
        // SAFETY: a default action installs no code of ours. Numbers that cannot be set are refused, harmlessly.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Marks every file descriptor but the three standard ones to be closed by the agent's start: one that the
/// engine inherited could lead back to the host's file system.
fn close_everything_else() -> Result<()> {
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
