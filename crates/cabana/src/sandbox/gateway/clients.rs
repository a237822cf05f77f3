//! Closing clients' sockets: their credentials have ended, they have gone, they do not read, or the sandbox was destroyed.

use std::rc::Rc;

use cabana_protocol::{KeyId, frame::close};

use super::{Gateway, client::Client};
use crate::{clock::now, lifecycle::Instant, log, revocation};

/// How long the word that a key is good holds, in milliseconds. A key that was revoked is good for no more than that.
const GOOD_FOR_MS: u64 = 60_000;

impl Gateway {
    /// Closes the sockets that were opened with an API key, or with what was made with it. Returns how many there were.
    pub(in crate::sandbox) fn revoke(self: &Rc<Self>, key: &KeyId) -> usize {
        self.close_all(|client| client.hangs_on(key), close::UNAUTHORIZED, "the credentials were revoked")
    }

    /// Closes the sockets whose credentials have ended.
    pub(in crate::sandbox) fn expire(self: &Rc<Self>, now_ms: u64) {
        if self.expires_at_ms().is_none_or(|first| first > now_ms) {
            return;
        }
        let ended = |client: &Client| client.principal.expires_at_ms.is_some_and(|end| end <= now_ms);
        self.close_all(ended, close::UNAUTHORIZED, "the credentials have ended");
    }

    pub(super) fn note_expiry(&self) {
        self.credentials_end.set(self.expires_at_ms().map(Instant));
        self.supervisor.rearm();
    }

    fn expires_at_ms(&self) -> Option<u64> {
        self.clients.borrow().values().filter_map(|client| client.principal.expires_at_ms).min()
    }

    /// Asks about a client's key, unless the last answer holds. The gateway that admitted the client may not know of a revocation, and one that
    /// revoked the key has closed only the sockets that were open then.
    pub(super) fn confirm(self: &Rc<Self>, client: &Client) {
        let now_ms = now().0;
        let Some(key) = client.principal.key.clone().filter(|_| client.confirmed_at_ms.get() + GOOD_FOR_MS <= now_ms) else {
            return;
        };
        self.clients
            .borrow()
            .values()
            .filter(|client| client.hangs_on(&key))
            .for_each(|client| client.confirmed_at_ms.set(now_ms));
        let gateway = Rc::clone(self);
        self.state().wait_until(async move {
            if gateway.is_revoked(&key).await {
                gateway.revoke(&key);
            }
        });
    }

    async fn is_revoked(&self, key: &KeyId) -> bool {
        let Some(database) = &self.database else { return false };
        revocation::is_revoked(database, key).await.unwrap_or_else(|error| {
            log::warn(None, &format!("whether a key was revoked cannot be told: {}", error.message));
            false
        })
    }

    /// The same for all clients for which something runs.
    pub(super) fn confirm_busy(self: &Rc<Self>) {
        let busy: Vec<_> = self.clients.borrow().values().filter(|client| client.is_busy()).cloned().collect();
        busy.iter().for_each(|client| self.confirm(client));
    }

    /// Closes all sockets: the sandbox is no more.
    pub(in crate::sandbox) fn destroyed(self: &Rc<Self>) {
        self.close_all(|_| true, close::DESTROYED, "the sandbox was destroyed");
    }

    pub(super) fn close_all(self: &Rc<Self>, which: impl Fn(&Client) -> bool, code: u16, reason: &str) -> usize {
        let chosen: Vec<_> = self.clients.borrow().values().filter(|client| which(client)).cloned().collect();
        for client in &chosen {
            client.close(code, reason);
            self.forget(client);
        }
        chosen.len()
    }

    /// Closes the socket of a client that does not read.
    pub(super) fn give_up(self: &Rc<Self>, client: &Client) {
        client.close(close::TOO_SLOW, "what was sent was not taken: process.attach goes on from an offset");
        self.forget(client);
    }

    pub(super) fn forget(self: &Rc<Self>, client: &Client) {
        if self.clients.borrow_mut().remove(&client.number).is_some() {
            client.running.borrow_mut().clear();
            self.link.borrow_mut().forget(client.number);
            self.flows.borrow_mut().forget(client.number);
            self.note_expiry();
            self.rest();
        }
    }
}
