//! Large content that has been replaced. The kernel frees it when it is closed, which takes about as long as to write it: so that is
//! done when nobody waits for it any more.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::fs::{OFlags, Statx};

use super::target::Target;
use crate::threads;

/// From this size on, freeing content is worth a thread's work.
const LARGE_BYTES: u64 = 1 << 20;

/// Content that may have lost its last name, open. It is freed when this is dropped, if nobody else has it.
#[derive(Debug)]
pub(super) struct Replaced(Option<OwnedFd>);

/// What is being freed.
#[derive(Debug, Default)]
pub(super) struct Freeing {
    count: Mutex<usize>,
    done: Condvar,
}

impl Replaced {
    /// Holds what is here, if it is large, before its name is given to something else.
    pub(super) fn hold(target: &Target<'_>, before: Option<&Statx>) -> Self {
        let large = before.is_some_and(|stat| stat.stx_blocks.saturating_mul(512) >= LARGE_BYTES);
        Self(large.then(|| target.open(OFlags::PATH | OFlags::NOFOLLOW).ok()).flatten())
    }

    /// Lets go of it: in the background where a thread is idle, else here. It is never queued, because those who wait for it may
    /// hold every thread that could take it from the queue.
    pub(super) fn free(self, freeing: &Arc<Freeing>) {
        let Some(content) = self.0 else { return };
        let freed = Freed::begin(freeing);
        let free = move || {
            drop(content);
            drop(freed);
        };
        if let Err(free) = threads::run_idle(free) {
            free();
        }
    }
}

impl Freeing {
    /// Waits until all is freed; false if there is nothing to wait for.
    pub(super) fn wait(&self) -> bool {
        let mut count = self.lock();
        let some = *count > 0;
        while *count > 0 {
            count = self.done.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        some
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Content that is being freed until this is dropped.
struct Freed(Arc<Freeing>);

impl Freed {
    fn begin(freeing: &Arc<Freeing>) -> Self {
        *freeing.lock() += 1;
        Self(Arc::clone(freeing))
    }
}

impl Drop for Freed {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.done.notify_all();
    }
}
