//! Closing clients' sockets: their credentials have ended, they do not read, or the sandbox is no more.

use std::rc::Rc;

use cabana_protocol::frame::close;

use super::{Gateway, client::Client};

impl Gateway {
    /// Closes the sockets of a principal: its credentials are good no more. Returns how many there were.
    pub(crate) fn revoke(self: &Rc<Self>, principal: &str) -> usize {
        self.close_all(|client| client.principal.id == principal, close::UNAUTHORIZED, "the credentials were revoked")
    }

    /// Closes the sockets whose credentials have ended.
    pub(crate) fn expire(self: &Rc<Self>, now_ms: u64) {
        if self.expires_at_ms().is_none_or(|first| first > now_ms) {
            return;
        }
        let ended = |client: &Client| client.principal.expires_at_ms.is_some_and(|end| end <= now_ms);
        self.close_all(ended, close::UNAUTHORIZED, "the credentials have ended");
    }

    /// Closes all sockets: the sandbox is no more.
    pub(crate) fn destroyed(self: &Rc<Self>) {
        self.close_all(|_| true, close::DESTROYED, "the sandbox was destroyed");
    }

    fn close_all(self: &Rc<Self>, which: impl Fn(&Client) -> bool, code: u16, reason: &str) -> usize {
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
            client.running.take();
            self.link.borrow_mut().forget(client.number);
            self.note_expiry();
            self.rest();
        }
    }

    pub(super) fn note_expiry(&self) {
        Rc::clone(&self.backend).expires(self.expires_at_ms());
    }

    fn expires_at_ms(&self) -> Option<u64> {
        self.clients.borrow().values().filter_map(|client| client.principal.expires_at_ms).min()
    }
}
