//! The operations that run on one socket, by the client's ids.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cabana_protocol::Error;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Tell;

/// Shared by the socket's reader and its operations; locked for a look-up at a time, never across an await.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<String, Operation>>>);

/// How to speak to an operation.
struct Operation {
    /// `None` for one that takes no inputs.
    tell: Option<Tell>,
    cancel: CancellationToken,
}

impl Running {
    /// Notes an operation that answers once; the token is set when the client cancels it.
    pub(super) fn call(&self, id: &str) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.insert(id, Operation { tell: None, cancel: cancel.clone() });
        cancel
    }

    /// Notes an operation that talks.
    pub(super) fn stream(&self, id: &str, tell: Tell, cancel: CancellationToken) {
        self.insert(id, Operation { tell: Some(tell), cancel });
    }

    fn insert(&self, id: &str, operation: Operation) {
        self.with(|operations| operations.insert(id.to_owned(), operation));
    }

    /// The operation has ended.
    pub(super) fn forget(&self, id: &str) {
        self.with(|operations| operations.remove(id));
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.with(|operations| operations.contains_key(id))
    }

    pub(super) fn len(&self) -> usize {
        self.with(|operations| operations.len())
    }

    /// The way to tell an operation something.
    pub(super) fn tell(&self, id: &str) -> Option<Tell> {
        self.with(|operations| operations.get(id)?.tell.clone())
    }

    /// Asks an operation to end.
    ///
    /// Fails with `not_found`, also for one that has just ended: its answer is on the way.
    pub(super) fn cancel(&self, id: &str) -> Result<(), Error> {
        let cancel = self.with(|operations| operations.get(id).map(|operation| operation.cancel.clone()));
        cancel.map(|cancel| cancel.cancel()).ok_or_else(|| Error::not_found("no operation runs under this id"))
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<String, Operation>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
