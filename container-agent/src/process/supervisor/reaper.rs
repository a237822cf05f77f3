//! Children of children that nobody waits for. As PID 1, or once it has asked for them, the agent becomes their parent, and a
//! zombie stays until its parent waits for it.
//!
//! A process's owner waits for its own child and needs the exit code, so the reaper only looks (WNOWAIT) and leaves those alone. It is a
//! thread of its own: in the runtime, the end of every command would wake two tasks at once, and with them two threads.

use std::{
    collections::HashSet,
    io,
    mem::MaybeUninit,
    ptr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, WaitOptions, set_child_subreaper, waitpid};

use super::tree::proc;

/// How long an orphan may stay a zombie, so that many are looked at together, and owners have waited for their own children by then.
const PAUSE: Duration = Duration::from_millis(5);

/// How often it is looked whether an owned zombie, behind which orphans may be, is gone.
const OWNED_PAUSE: Duration = Duration::from_millis(100);

/// Address space of the thread's stack.
const STACK_BYTES: usize = 256 << 10;

/// Makes orphans come to this process even where it is not PID 1.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// The children that have an owner.
///
/// Locked for a few instructions at a time, never across an await.
#[derive(Debug, Clone, Default)]
pub(in crate::process) struct OwnedChildren(Arc<Mutex<Children>>);

#[derive(Debug, Default)]
struct Children {
    pids: HashSet<Pid>,
    /// Children that are being started: they exist before their number is known here.
    unborn: usize,
}

impl OwnedChildren {
    /// Starts a child with an owner.
    pub(in crate::process) fn claim<T, E>(
        &self,
        spawn: impl FnOnce() -> Result<T, E>,
        pid: impl FnOnce(&T) -> Pid,
    ) -> Result<T, E> {
        self.with(|children| children.unborn += 1);
        let child = spawn();
        self.with(|children| {
            children.unborn -= 1;
            children.pids.extend(child.as_ref().ok().map(pid));
        });
        child
    }

    /// The owner has waited for its child.
    pub(in crate::process) fn release(&self, pid: Pid) {
        self.with(|children| children.pids.remove(&pid));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Children) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for every zombie at hand that has no owner. The kernel shows one zombie at a time; where that one has, or may have, an
    /// owner, there may be others behind it that only a later look finds: then this is false.
    fn reap(&self) -> bool {
        while let Some(pid) = zombie() {
            if self.with(|children| children.unborn > 0 || children.pids.contains(&pid)) {
                self.reap_behind();
                return false;
            }
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        true
    }

    /// Waits for zombies that the kernel does not show because of an owned one before them. An owner may leave its child a zombie for
    /// as long as its tree takes to end.
    fn reap_behind(&self) {
        let children = proc::children(rustix::process::getpid().as_raw_nonzero().get());
        self.with(|known| {
            // One of the unborn could be among them. With the lock held none is added.
            let orphans = children.into_iter().filter_map(Pid::from_raw).filter(|pid| !known.pids.contains(pid));
            for pid in orphans.filter(|_| known.unborn == 0) {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        });
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

/// Reaps from now on, until the process ends.
///
/// Fails where the kernel does not give a thread.
pub(in crate::process) fn reap(own: OwnedChildren) -> io::Result<()> {
    let reaper = move || {
        let mut all_seen = true;
        loop {
            wait_for_signal((!all_seen).then_some(OWNED_PAUSE));
            thread::sleep(PAUSE);
            all_seen = own.reap();
        }
    };
    thread::Builder::new().name("reaper".to_owned()).stack_size(STACK_BYTES).spawn(reaper).map(drop)
}

/// Waits for a SIGCHLD, which all threads block ([`block_child_signal`](crate::process::block_child_signal)), for so long at most. One
/// that has come since the last wait counts.
#[allow(unsafe_code)]
fn wait_for_signal(limit: Option<Duration>) {
    let mut signals = MaybeUninit::<libc::sigset_t>::uninit();
    let limit = limit.map(|limit| libc::timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() });
    // SAFETY: sigemptyset(3) initializes the set; the pointers are valid during the calls, and null is allowed for both others.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGCHLD);
        libc::sigtimedwait(signals.as_ptr(), ptr::null_mut(), limit.as_ref().map_or(ptr::null(), ptr::from_ref));
    }
}
