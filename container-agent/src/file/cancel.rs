//! Work that ends early when nobody waits for it any more.

use std::io::{self, Read};

use tokio_util::sync::CancellationToken;

/// A reader that fails once it is cancelled.
#[derive(Debug)]
pub(super) struct Cancellable<'a, R> {
    inner: R,
    cancel: &'a CancellationToken,
}

impl<'a, R> Cancellable<'a, R> {
    pub(super) fn new(inner: R, cancel: &'a CancellationToken) -> Self {
        Self { inner, cancel }
    }
}

impl<R: Read> Read for Cancellable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        go_on(self.cancel)?;
        self.inner.read(buffer)
    }
}

/// Fails once it is cancelled. Who would read the error is gone.
pub(super) fn go_on(cancel: &CancellationToken) -> io::Result<()> {
    if cancel.is_cancelled() { Err(io::Error::other("cancelled")) } else { Ok(()) }
}
