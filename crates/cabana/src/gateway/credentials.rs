//! Clients whose credentials are good no more.

use std::rc::Rc;

use cabana_protocol::{KeyId, frame::close};
use worker::Date;

use super::{Gateway, client::Client};

/// How long the word that a key is good holds, in milliseconds. A key that was revoked is good for no more than that.
const GOOD_FOR_MS: u64 = 60_000;

impl Gateway {
    /// Closes the sockets that were opened with an API key, or with what was made with it. Returns how many there were.
    pub(crate) fn revoke(self: &Rc<Self>, key: &KeyId) -> usize {
        self.close_all(|client| client.hangs_on(key), close::UNAUTHORIZED, "the credentials were revoked")
    }

    /// Closes the sockets whose credentials have ended.
    pub(crate) fn expire(self: &Rc<Self>, now_ms: u64) {
        if self.expires_at_ms().is_none_or(|first| first > now_ms) {
            return;
        }
        let ended = |client: &Client| client.principal.expires_at_ms.is_some_and(|end| end <= now_ms);
        self.close_all(ended, close::UNAUTHORIZED, "the credentials have ended");
    }

    pub(super) fn note_expiry(&self) {
        Rc::clone(&self.backend).expires(self.expires_at_ms());
    }

    fn expires_at_ms(&self) -> Option<u64> {
        self.clients.borrow().values().filter_map(|client| client.principal.expires_at_ms).min()
    }

    /// Asks about a client's key, unless the last answer holds. Whoever let the client in may not have heard of a revocation, and whoever
    /// revoked the key has closed only the sockets that were open then.
    pub(super) fn confirm(self: &Rc<Self>, client: &Client) {
        let now_ms = Date::now().as_millis();
        let Some(key) = client.principal.key.clone().filter(|_| client.confirmed_at_ms.get() + GOOD_FOR_MS <= now_ms) else {
            return;
        };
        self.clients
            .borrow()
            .values()
            .filter(|client| client.hangs_on(&key))
            .for_each(|client| client.confirmed_at_ms.set(now_ms));
        let gateway = Rc::clone(self);
        self.backend.state().wait_until(async move {
            if Rc::clone(&gateway.backend).is_revoked(&key).await {
                gateway.revoke(&key);
            }
        });
    }

    /// The same for all clients for which something runs.
    pub(super) fn confirm_busy(self: &Rc<Self>) {
        let busy: Vec<_> = self.clients.borrow().values().filter(|client| client.is_busy()).cloned().collect();
        busy.iter().for_each(|client| self.confirm(client));
    }
}
