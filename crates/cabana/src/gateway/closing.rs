//! Closing clients' sockets: they have gone, they do not read, or the sandbox is no more.

use std::rc::Rc;

use cabana_protocol::frame::close;

use super::{Gateway, client::Client};

impl Gateway {
    /// Closes all sockets: the sandbox is no more.
    pub(crate) fn destroyed(self: &Rc<Self>) {
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
            client.running.take();
            self.link.borrow_mut().forget(client.number);
            self.flows.borrow_mut().forget(client.number);
            self.note_expiry();
            self.rest();
        }
    }
}
