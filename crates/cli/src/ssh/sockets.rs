//! The WebSockets of a connection: one for each session that runs, which is used again after it.
//!
//! A session whose output the client does not read would delay the others of its socket.

use std::sync::{Arc, Mutex, PoisonError};

use cabana_client::Sandbox;

/// The WebSockets that no session uses at the moment.
#[derive(Debug, Clone)]
pub(super) struct Sockets {
    sandbox: Sandbox,
    idle: Arc<Mutex<Vec<Sandbox>>>,
}

/// A WebSocket that one session uses.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) sandbox: Sandbox,
    idle: Arc<Mutex<Vec<Sandbox>>>,
}

impl Sockets {
    pub(super) fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, idle: Arc::default() }
    }

    /// The one that all tunnels share. Their flow is controlled, so none delays another.
    pub(super) fn shared(&self) -> &Sandbox {
        &self.sandbox
    }

    /// One for a session alone.
    pub(super) fn take(&self) -> Socket {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Socket { sandbox: idle.unwrap_or_else(|| self.sandbox.separate()), idle: Arc::clone(&self.idle) }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.sandbox.clone());
    }
}
