//! What runs on a connection.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use super::frame::Incoming;
use crate::{Error, Result};

/// Frames of one operation that wait to be read.
const INCOMING: usize = 256;

/// The operations that run on a connection, by the id of their request.
#[derive(Default)]
pub(super) struct Table(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    running: HashMap<u64, mpsc::Sender<Incoming>>,
    /// Ids whose cancellation has not been sent yet: no more than have run.
    cancelled: VecDeque<u64>,
    /// Why the connection has ended.
    end: Option<End>,
}

/// An error that is told to everything that ran.
enum End {
    Lost(String),
    Service { error: cabana_protocol::Error, status: u16 },
}

impl End {
    fn error(&self) -> Error {
        match self {
            Self::Lost(message) => Error::lost(message.clone()),
            Self::Service { error, status } => Error::Service { error: error.clone(), status: *status, request_id: None },
        }
    }
}

impl Table {
    /// Room for another operation, and the way to its frames.
    pub(super) fn admit(&self) -> Result<(u64, mpsc::Receiver<Incoming>)> {
        let mut state = self.state();
        if let Some(end) = &state.end {
            return Err(end.error());
        }
        let id = state.next;
        state.next += 1;
        let (sender, receiver) = mpsc::channel(INCOMING);
        state.running.insert(id, sender);
        Ok((id, receiver))
    }

    pub(super) fn remove(&self, id: u64) {
        self.state().running.remove(&id);
    }

    /// Passes a frame to its operation, and waits for room where that is slow.
    pub(super) async fn deliver(&self, id: u64, incoming: Incoming) {
        let ends = !matches!(incoming, Incoming::Event(_));
        let Some(sender) = self.state().running.get(&id).cloned() else { return };
        // Nobody may be listening any more: then it has been cancelled.
        let _ = sender.send(incoming).await;
        if ends {
            self.remove(id);
        }
    }

    pub(super) fn cancel(&self, id: u64) {
        let mut state = self.state();
        // What has ended needs no cancellation.
        if state.running.contains_key(&id) {
            state.cancelled.push_back(id);
        }
    }

    pub(super) fn next_cancellation(&self) -> Option<u64> {
        self.state().cancelled.pop_front()
    }

    /// Ends everything that runs.
    pub(super) fn close(&self, error: Error) {
        let mut state = self.state();
        state.end.get_or_insert(match error {
            Error::Service { error, status, .. } => End::Service { error, status },
            Error::ConnectionLost { message } => End::Lost(message),
            other => End::Lost(other.to_string()),
        });
        state.running.clear();
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().end.is_none()
    }

    pub(super) fn end(&self) -> Error {
        self.state().end.as_ref().map_or_else(|| Error::lost("the connection does not take what is sent"), End::error)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Table;
    use crate::{Error, connection::Incoming};
    use cabana_protocol::Code;

    #[tokio::test]
    async fn frames_reach_their_operation_and_its_end_frees_the_id() {
        let table = Table::default();
        let (first, mut frames) = table.admit().unwrap();
        let (second, _others) = table.admit().unwrap();
        assert_ne!(first, second);
        table.deliver(first, Incoming::Error(cabana_protocol::Error::not_found("no"))).await;
        assert!(matches!(frames.recv().await, Some(Incoming::Error(error)) if error.code == Code::NotFound));
        assert!(frames.recv().await.is_none());
        table.cancel(first);
        table.cancel(second);
        assert_eq!((table.next_cancellation(), table.next_cancellation()), (Some(second), None), "only what runs is cancelled");
    }

    #[tokio::test]
    async fn the_end_of_a_connection_is_told_to_all() {
        let table = Table::default();
        let (_, mut frames) = table.admit().unwrap();
        table.close(Error::of_frame(cabana_protocol::Error::new(Code::Unauthorized, "revoked")));
        table.close(Error::lost("later"));
        assert!(frames.recv().await.is_none() && !table.is_open());
        assert_eq!(table.end().code(), Some(Code::Unauthorized));
        assert_eq!(table.admit().unwrap_err().code(), Some(Code::Unauthorized));
    }
}
