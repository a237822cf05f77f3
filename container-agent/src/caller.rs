//! Who waits for an operation, and what it means that the connection ends.
//!
//! A client of the agent's own port has hung up when its connection ends. All others are behind the sandbox's Durable Object, which says
//! when a client has hung up: by a message on the link, or by [`cabana_protocol::call`]. A connection to the object that ends without a
//! word was lost, and the client may come back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use cabana_protocol::{ProcessId, call::MAX_NAME_BYTES};
use tokio_util::sync::CancellationToken;

/// Who waits for one operation; clones mean the same one.
#[derive(Debug, Clone, Default)]
pub struct Caller(Arc<State>);

#[derive(Debug, Default)]
struct State {
    hung_up: CancellationToken,
    may_return: bool,
    /// The process that was started for it.
    process: OnceLock<ProcessId>,
    _registration: Option<Registration>,
}

impl Caller {
    /// Somebody behind the object. The token is set when the object says that this client has hung up.
    pub(crate) fn behind_object(hung_up: CancellationToken) -> Self {
        Self(Arc::new(State { hung_up, may_return: true, ..State::default() }))
    }

    /// Whether the end of the connection does not say that it has hung up.
    pub(crate) fn may_return(&self) -> bool {
        self.0.may_return
    }

    /// Set when it asks for the end of the operation. Hanging up sets it, too.
    pub(crate) fn cancel(&self) -> CancellationToken {
        self.0.hung_up.child_token()
    }

    /// Notes the process that was started for it.
    pub(crate) fn started(&self, process: &ProcessId) {
        // An operation starts one at most.
        let _ = self.0.process.set(process.clone());
    }

    /// The process that was started for it.
    pub(crate) fn process(&self) -> Option<&ProcessId> {
        self.0.process.get()
    }
}

/// The calls over HTTP that are under way for clients of the object, or whose processes still run, by the object's names for them.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<HashMap<String, CancellationToken>>>);

/// Keeps a call known.
#[derive(Debug)]
struct Registration {
    calls: Calls,
    name: String,
}

impl Calls {
    /// The client of the call of this name. It stays known until the last clone is dropped. One without a proper name is a client of the
    /// agent's own.
    pub(crate) fn register(&self, name: &str) -> Caller {
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) {
            return Caller::default();
        }
        let hung_up = self.with(|calls| calls.entry(name.to_owned()).or_default().clone());
        let registration = Registration { calls: self.clone(), name: name.to_owned() };
        Caller(Arc::new(State { hung_up, may_return: true, _registration: Some(registration), ..State::default() }))
    }

    /// The client of this call has hung up. Does nothing for a call that is over.
    pub(crate) fn hang_up(&self, name: &str) {
        if let Some(hung_up) = self.with(|calls| calls.remove(name)) {
            hung_up.cancel();
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<String, CancellationToken>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.calls.with(|calls| calls.remove(&self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_hangs_up_is_found_while_its_call_is_known() {
        let calls = Calls::default();
        let (caller, other) = (calls.register("a"), calls.register("b"));
        let (cancel, kept) = (caller.cancel(), caller.clone());
        drop(caller);
        calls.hang_up("b");
        assert!(!cancel.is_cancelled() && other.cancel().is_cancelled());
        calls.hang_up("a");
        assert!(cancel.is_cancelled());
        drop((kept, other));
        assert!(calls.with(|calls| calls.is_empty()));
        calls.hang_up("a");
    }

    #[test]
    fn calls_without_a_proper_name_end_with_their_connection() {
        let calls = Calls::default();
        for (name, may_return) in
            [("a", true), ("", false), (&*"a".repeat(MAX_NAME_BYTES), true), (&*"a".repeat(MAX_NAME_BYTES + 1), false)]
        {
            assert_eq!(calls.register(name).may_return(), may_return, "{name}");
        }
    }
}
