//! What a child starts with, however the agent itself was started, and what the agent keeps for itself.
//!
//! The agent comes before its children when processors are scarce and when the kernel is out of memory. A control group of its own
//! would do more, but few containers let a process make one.

use std::{ffi::CStr, fs, sync::OnceLock};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mm::{MlockAllFlags, mlockall},
    process::{Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit},
};

/// By how much less nice the agent's threads are than its children.
const NICE_STEP: i32 = 5;

/// Added to a child's `oom_score_adj`, so that the OOM killer picks it before the agent (proc_pid_oom_score_adj(5)).
const OOM_STEP: i32 = 500;

/// What children get back. Set once, at the start.
static ORDINARY: OnceLock<Ordinary> = OnceLock::new();

#[derive(Debug)]
struct Ordinary {
    /// The niceness that the agent was started with, where the agent has another one.
    nice: Option<i32>,
    /// The text of a child's `oom_score_adj`, where the agent's own can be read.
    oom_score_adj: Option<String>,
    /// The limit of descriptors that the agent was started with.
    descriptors: Rlimit,
}

/// Puts this process before its children, as far as that is allowed, and lets it have as many descriptors as it may. Call it before
/// other threads are made: they inherit it.
///
/// - Its threads are less nice (CAP_SYS_NICE).
/// - Its memory stays there, its program above all: when memory is short, the kernel would otherwise drop the program's pages and
///   read them from the disk at every step (CAP_IPC_LOCK, or a sufficient RLIMIT_MEMLOCK).
/// - The OOM killer picks its children first. Raising a child's score needs no right; lowering the agent's would.
pub fn raise_self() {
    let own = getpriority_process(None).and_then(|own| setpriority_process(None, own - NICE_STEP).map(|()| own));
    let nice = own.inspect_err(|error| refused("run before its children", error)).ok();
    let locked = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT);
    let _ = locked.inspect_err(|error| refused("keep itself in memory", error));
    let score = fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse::<i32>().ok());
    let oom_score_adj = score.map(|own| (own + OOM_STEP).min(1_000).to_string());
    let descriptors = getrlimit(Resource::Nofile);
    // Connections and processes are counted by limits of the agent's own.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: descriptors.maximum, maximum: descriptors.maximum });
    let _ = raised.inspect_err(|error| refused("have more descriptors", error));
    ORDINARY.get_or_init(|| Ordinary { nice, oom_score_adj, descriptors });
}

fn refused(what: &str, error: &Errno) {
    tracing::info!("the agent may not {what}: {error}");
}

/// Gives the calling process, a child before its exec, what children start with. System calls only. A refusal changes nothing that the
/// program depends on.
pub(super) fn assume() {
    const OOM_SCORE_ADJ: &CStr = c"/proc/self/oom_score_adj";
    let Some(ordinary) = ORDINARY.get() else { return };
    if let Some(score) = &ordinary.oom_score_adj {
        let file = rustix::fs::open(OOM_SCORE_ADJ, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let _ = file.and_then(|file| rustix::io::write(&file, score.as_bytes()));
    }
    let _ = ordinary.nice.map(|nice| setpriority_process(None, nice));
    let _ = setrlimit(Resource::Nofile, ordinary.descriptors);
}
