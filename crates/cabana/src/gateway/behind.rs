//! Clients that are behind: they are looked at, and only while there are any, until they have caught up or are given up.

use std::{rc::Rc, time::Duration};

use worker::Delay;

use super::{Gateway, flow::Look};

/// How often clients that are behind are looked at: at first, and at most, each pause being twice the one before.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(250);

impl Gateway {
    /// Sees to it that a client that is behind is looked at until it has caught up.
    pub(super) fn look_after(self: &Rc<Self>, client: u64) {
        let mut behind = self.behind.borrow_mut();
        if behind.contains(&client) {
            return;
        }
        behind.push(client);
        if behind.len() == 1 {
            let gateway = Rc::clone(self);
            self.backend.state().wait_until(async move { gateway.look_at_those_behind().await });
        }
    }

    /// Gives clients up where all together have more in their queues than the object bears.
    pub(super) fn relieve(self: &Rc<Self>) {
        if self.flows.borrow().excess().is_none() {
            return;
        }
        // What is known of those that are not behind may be old.
        for client in self.clients.borrow().values() {
            self.flows.borrow_mut().note(client.number, client.queue());
        }
        loop {
            let excess = self.flows.borrow().excess();
            let Some(client) = excess.and_then(|number| self.clients.borrow().get(&number).cloned()) else { return };
            self.give_up(&client);
        }
    }

    async fn look_at_those_behind(self: Rc<Self>) {
        let mut pause = FIRST_LOOK;
        while !self.behind.borrow().is_empty() {
            Delay::from(pause).await;
            let before = self.behind.borrow().clone();
            let still: Vec<_> = before.iter().copied().filter(|&client| self.is_behind(client, pause)).collect();
            let progress = still.len() < before.len();
            // Others may have fallen behind meanwhile; they come after those that were looked at.
            self.behind.borrow_mut().splice(..before.len(), still);
            pause = if progress { FIRST_LOOK } else { (pause * 2).min(LAST_LOOK) };
        }
    }

    fn is_behind(self: &Rc<Self>, number: u64, pause: Duration) -> bool {
        let Some(client) = self.clients.borrow().get(&number).cloned() else { return false };
        // Nobody asks what was taken of a link that is closed.
        if self.link.borrow().current().is_none() {
            self.flows.borrow_mut().restart(number);
            return false;
        }
        let look = self.flows.borrow_mut().look(number, client.queue(), pause);
        match look {
            Look::Taken(frames) => self.link.borrow().taken(number, frames),
            Look::Behind => return true,
            Look::Stalled => self.give_up(&client),
        }
        false
    }
}
