//! Waiting for something to change.

use std::cell::RefCell;

use futures_channel::oneshot;

/// Wakes all who wait for it.
#[derive(Default)]
pub(super) struct Signal(RefCell<Vec<oneshot::Sender<()>>>);

impl Signal {
    /// Wakes all who wait.
    pub(super) fn notify(&self) {
        for waiting in self.0.take() {
            // It may have gone.
            let _ = waiting.send(());
        }
    }

    /// Ends when this is notified next. Notifications from the call on count, not from the first poll on.
    pub(super) fn wait(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.0.borrow_mut();
        waiting.retain(|waiting| !waiting.is_canceled());
        waiting.push(sender);
        receiver
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.borrow().iter().filter(|waiting| !waiting.is_canceled()).count()
    }
}
