//! The agent comes before what it starts: when processors are scarce, and when the kernel is out of memory.
//!
//! A control group of its own would do more, but few containers let a process make one.

use std::{fs, sync::OnceLock};

use rustix::{
    io::Errno,
    mm::{MlockAllFlags, mlockall},
    process::{Pid, getpriority_process, setpriority_process},
};

/// By how much less nice the agent's threads are than what they start.
const NICE_STEP: i32 = 5;

/// How much rather a child is killed for want of memory than the agent, of 1,000 (proc_pid_oom_score_adj(5)).
const OOM_STEP: i32 = 500;

/// Set once this process has gone first.
static PLACE: OnceLock<Place> = OnceLock::new();

#[derive(Debug)]
struct Place {
    /// The niceness that this process was started with, and the one that it has, where it may change it.
    nice: Option<(i32, i32)>,
    /// What is written for a child, where the own value can be read.
    oom_score_adj: Option<String>,
}

/// Puts this process before what it will start, as far as that is allowed. To be called before there are other threads, which
/// inherit it.
///
/// - Its threads are less nice (CAP_SYS_NICE).
/// - What it has in memory stays there, its program above all: when memory is short, the kernel would otherwise drop the program's
///   pages and read them again from the disk at every step (CAP_IPC_LOCK, or a sufficient RLIMIT_MEMLOCK).
/// - What it starts is rather killed for want of memory. Raising a child needs no right, as lowering the agent would; and a
///   grandchild that is born before its parent is raised must not be safer than what no agent has started.
pub fn go_first() {
    let own = getpriority_process(None).map(|own| (own, own - NICE_STEP));
    let nice = own.and_then(|(own, first)| setpriority_process(None, first).map(|()| (own, first)));
    let nice = nice.inspect_err(|error| refused("run before what it starts", error)).ok();
    let kept = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT);
    let _ = kept.inspect_err(|error| refused("keep itself in memory", error));
    let score = fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse::<i32>().ok());
    let oom_score_adj = score.map(|own| (own + OOM_STEP).min(1_000).to_string());
    PLACE.get_or_init(|| Place { nice, oom_score_adj });
}

fn refused(what: &str, error: &Errno) {
    tracing::info!("the agent may not {what}: {error}");
}

/// Starts a child from this thread with the niceness that this process was started with: a child inherits its thread's.
pub(super) fn spawn<T>(spawn: impl FnOnce() -> T) -> T {
    let Some((ordinary, first)) = PLACE.get().and_then(|place| place.nice) else { return spawn() };
    // Neither fails: who may go first may go back and forth.
    let _ = setpriority_process(None, ordinary);
    let spawned = spawn();
    let _ = setpriority_process(None, first);
    spawned
}

/// Has this child, and what it will start, killed before the agent. One that has ended already needs it no more.
pub(super) fn expose(child: Pid) {
    if let Some(value) = PLACE.get().and_then(|place| place.oom_score_adj.as_ref()) {
        let _ = fs::write(format!("/proc/{child}/oom_score_adj"), value);
    }
}
