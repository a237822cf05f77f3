//! Work that ends early: nobody waits for it any more, its time is up, or it has found enough.

use std::{
    io::{self, Read},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use tokio_util::sync::CancellationToken;

/// When work that many threads share is to end.
#[derive(Debug)]
pub(super) struct Halt<'a> {
    cancel: &'a CancellationToken,
    deadline: Instant,
    enough: AtomicBool,
}

impl<'a> Halt<'a> {
    pub(super) fn new(cancel: &'a CancellationToken, deadline: Instant) -> Self {
        Self { cancel, deadline, enough: AtomicBool::new(false) }
    }

    /// Ends the work.
    pub(super) fn set(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    /// Whether the work is to end.
    pub(super) fn is_set(&self) -> bool {
        self.enough.load(Ordering::Relaxed) || self.timed_out() || self.cancel.is_cancelled()
    }

    /// Whether the time is up.
    pub(super) fn timed_out(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// A reader that fails once it is to end.
#[derive(Debug)]
pub(super) struct Interruptible<R, E> {
    inner: R,
    ends: E,
}

impl<R: Read, E: Fn() -> bool> Interruptible<R, E> {
    pub(super) fn new(inner: R, ends: E) -> Self {
        Self { inner, ends }
    }
}

impl<R: Read, E: Fn() -> bool> Read for Interruptible<R, E> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.ends)() {
            return Err(ended());
        }
        self.inner.read(buffer)
    }
}

/// Fails once it is cancelled. Who would read the error is gone.
pub(super) fn check_cancelled(cancel: &CancellationToken) -> io::Result<()> {
    if cancel.is_cancelled() { Err(ended()) } else { Ok(()) }
}

fn ended() -> io::Error {
    io::Error::other("ended early")
}
