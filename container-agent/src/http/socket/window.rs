//! How far a client behind the link may be behind.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use cabana_protocol::link::{WINDOW_BYTES, cost};
use tokio::sync::Semaphore;

/// The room for frames that one client has not taken; clones share it.
#[derive(Clone)]
pub(super) struct Window {
    room: Arc<Semaphore>,
    /// What the frames take that are on their way, in the order in which they are sent.
    sent: Arc<Mutex<VecDeque<usize>>>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { room: Arc::new(Semaphore::new(WINDOW_BYTES)), sent: Arc::default() }
    }

    /// Waits until a frame of this length fits, and counts it as sent. False when the client is gone.
    pub(super) async fn wait(&self, length: usize) -> bool {
        let cost = cost(length);
        let Ok(room) = self.room.acquire_many(u32::try_from(cost).unwrap_or(u32::MAX)).await else { return false };
        room.forget();
        self.with(|sent| sent.push_back(cost));
        true
    }

    /// The client has taken so many more.
    pub(super) fn taken(&self, frames: u64) {
        let room = self.with(|sent| {
            let frames = usize::try_from(frames).unwrap_or(usize::MAX).min(sent.len());
            sent.drain(..frames).sum()
        });
        self.room.add_permits(room);
    }

    fn with<T>(&self, change: impl FnOnce(&mut VecDeque<usize>) -> T) -> T {
        change(&mut self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_sent_no_more_than_its_window() {
        let window = Window::new();
        let fits = || window.wait(60_000).now_or_never().is_some();
        assert_eq!((0..10).filter(|_| fits()).count(), WINDOW_BYTES / 60_000);
        window.taken(1);
        assert!(fits() && !fits());
        window.taken(u64::MAX);
        assert!(
            window.wait(1 << 30).now_or_never().is_some(),
            "a frame larger than the window goes when nothing else is on its way"
        );
        assert!(!fits() || !fits());
    }
}
