//! Children of children that nobody waits for. As PID 1, or once it has asked for them, the agent becomes their parent, and a
//! zombie stays until its parent waits for it.
//!
//! A process's owner waits for its own child and needs the exit code, so the reaper only looks (WNOWAIT) and leaves those alone.

use std::{
    collections::HashSet,
    io,
    mem::MaybeUninit,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::{Pid, WaitOptions, set_child_subreaper, waitpid};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
    task::JoinHandle,
};

/// Makes orphans come to this process even where it is not PID 1.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// The children that have an owner.
#[derive(Debug, Clone, Default)]
pub(super) struct Own(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Held for a few instructions at a time, never across an await.
    children: Mutex<Children>,
    /// What the reaper has stopped at may have changed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Children {
    pids: HashSet<Pid>,
    /// Children that are being started: they exist before their number is known here.
    unborn: usize,
    /// The reaper has stopped at a zombie that has, or may have, an owner.
    stopped: bool,
}

impl Own {
    /// Starts a child with an owner.
    pub(super) fn claim<T, E>(&self, spawn: impl FnOnce() -> Result<T, E>, pid: impl FnOnce(&T) -> Pid) -> Result<T, E> {
        self.with(|children| children.unborn += 1);
        let child = spawn();
        self.change(|children| {
            children.unborn -= 1;
            children.pids.extend(child.as_ref().ok().map(pid));
        });
        child
    }

    /// The owner has waited for its child.
    pub(super) fn release(&self, pid: Pid) {
        self.change(|children| {
            children.pids.remove(&pid);
        });
    }

    /// Changes what a reaper that has stopped goes on with.
    fn change(&self, change: impl FnOnce(&mut Children)) {
        let stopped = self.with(|children| {
            change(children);
            std::mem::take(&mut children.stopped)
        });
        if stopped {
            self.0.changed.notify_one();
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Children) -> T) -> T {
        look(&mut self.0.children.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for every zombie at hand that has no owner. Stops at one that has, or may have: the owner's wait brings it back here.
    fn reap(&self) {
        while let Some(pid) = zombie() {
            let owned = |children: &mut Children| {
                children.stopped = children.unborn > 0 || children.pids.contains(&pid);
                children.stopped
            };
            if self.with(owned) {
                return;
            }
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// Any child that has ended and has not been waited for. rustix's waitid does not tell which child it found.
#[allow(unsafe_code)]
fn zombie() -> Option<Pid> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is valid for a write of a siginfo_t during the call.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) };
    // SAFETY: siginfo_t is made of integers and pointers, for which zero is a value; waitid(2) fills si_pid, or leaves 0 where no
    // child has ended.
    (result == 0).then(|| unsafe { info.assume_init_ref().si_pid() }).and_then(Pid::from_raw)
}

/// Reaps from now on.
pub(super) fn reap(own: Own) -> io::Result<JoinHandle<()>> {
    let mut children = signal(SignalKind::child())?;
    Ok(tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = children.recv() => {}
                () = own.0.changed.notified() => {}
            }
            own.reap();
        }
    }))
}
