//! Between the clients and the agent: the [`link`], from the first operation until some time after the last, and what comes over it.

use std::{pin::pin, rc::Rc, time::Duration};

use cabana_protocol::{Code, Error, audit::Outcome, frame::binary::Raw};
use futures_util::future::{self, AbortHandle, Abortable, Either};
use worker::Delay;

use super::{Gateway, client::Client, link, message::Frame, relayed::Relayed};
use crate::{fault::Fault, log};

/// How long the link stays after the last operation: the next one often comes at once.
const LINGER: Duration = Duration::from_secs(1);

/// How long the agent may say nothing to those who wait for it before it is asked how it is. Long silence is no fault.
const SILENCE: Duration = Duration::from_secs(10);

impl Gateway {
    /// Passes a frame on to the agent, over a link that is made if there is none.
    pub(super) fn pass(self: &Rc<Self>, client: &Client, frame: Raw<'_>) {
        let opens = self.link.borrow_mut().pass(client.number, frame, client.binary);
        if let Some(generation) = opens {
            let gateway = Rc::clone(self);
            self.backend.state().wait_until(async move { gateway.link_up(generation).await });
        }
    }

    async fn link_up(self: Rc<Self>, generation: u64) {
        let opened = match link::request() {
            Ok(request) => Rc::clone(&self.backend).call(request).await.and_then(link::socket),
            Err(error) => Err(error),
        };
        let socket = match opened {
            Ok(socket) => socket,
            Err(error) => return self.lost(generation, &unheard(error)),
        };
        if self.link.borrow().current() != Some(generation) {
            // Nobody wants it any more.
            let _ = socket.accept().and_then(|()| socket.close(Some(1000), None::<&str>));
            return;
        }
        let (end, registration) = AbortHandle::new_pair();
        let opened = async {
            // It can be spoken to once it is listened to.
            self.link.borrow_mut().opened(&socket, end);
            self.watch(generation).await;
        };
        let listening = async {
            let heard = pin!(link::listen(&socket, |message| self.hear(message)));
            if let Either::Left((Err(error), _)) = future::select(heard, pin!(opened)).await {
                log::warn(None, &format!("the link to the agent failed: {error}"));
            }
        };
        let _ = Abortable::new(listening, registration).await;
        self.lost(generation, &Fault::Interrupted.error());
    }

    /// Asks the agent how it is when it has been silent for long while somebody waits for it, and now and then about the clients' keys, and tells
    /// clients that wait in silence that they are not forgotten. Returns
    /// when the agent is not well.
    async fn watch(self: &Rc<Self>, generation: u64) {
        loop {
            let heard = self.heard.get();
            Delay::from(SILENCE).await;
            self.confirm_busy();
            self.reassure_busy();
            let silent = self.heard.get() == heard && !self.is_idle();
            if self.link.borrow().current() != Some(generation) || silent && !Rc::clone(&self.backend).is_well().await {
                return;
            }
        }
    }

    /// Shows those who wait that their connections are alive. Who waits for nothing asks by a ping, which wakes nobody.
    fn reassure_busy(&self) {
        self.clients.borrow().values().filter(|client| client.is_busy()).for_each(|client| client.reassure());
    }

    /// What runs on a link that has ended gets no more answers but this one.
    fn lost(self: &Rc<Self>, generation: u64, error: &Error) {
        if !self.link.borrow_mut().lost(generation) {
            return;
        }
        let clients: Vec<_> = self.clients.borrow().values().filter(|client| client.is_busy()).cloned().collect();
        for client in clients {
            let running = client.running.take();
            client.save();
            for id in running.ids() {
                client.refuse(Some(id), error);
            }
            for entry in running.guards().filter_map(|guard| guard.entry.as_ref()) {
                entry.end_afterwards(Outcome::Failed(error.code));
            }
        }
    }

    /// Passes a frame of the agent on. `None` for what no agent of ours says.
    fn hear(self: &Rc<Self>, message: &Frame) -> Option<()> {
        self.heard.set(self.heard.get() + 1);
        match message.look()? {
            Relayed::Frame { client, at, id, ends } => {
                let client = self.clients.borrow().get(&client).cloned();
                // One that has just gone needs no more.
                if let Some(client) = client {
                    self.deliver(&client, &message.after(at), id, ends);
                }
            }
            Relayed::About { client, id, summary } => {
                let client = self.clients.borrow().get(&client).cloned();
                client.inspect(|client| client.note(&id, summary));
            }
            Relayed::GivenUp { client } => {
                let client = self.clients.borrow().get(&client).cloned();
                client.inspect(|client| self.give_up(client));
            }
        }
        Some(())
    }

    fn deliver(self: &Rc<Self>, client: &Rc<Client>, frame: &Frame, id: Option<String>, ends: Option<Outcome>) {
        if let Some(id) = id {
            client.count(&id, 0, frame.length());
            ends.inspect(|outcome| self.end(client, &id, *outcome));
        }
        let queue = client.queue();
        client.pass_on(frame);
        let taken = self.flows.borrow_mut().sent(client.number, frame.length(), queue);
        match taken {
            Some(0) => {}
            Some(frames) => self.link.borrow().taken(client.number, frames),
            None => self.look_after(client.number),
        }
        self.relieve();
    }

    /// An operation has ended. Its id is free before its last frame is sent, so that the client may use it again at once.
    fn end(self: &Rc<Self>, client: &Client, id: &str, outcome: Outcome) {
        let guard = client.running.borrow_mut().remove(id);
        if let Some(guard) = guard {
            client.save();
            self.rest();
            guard.entry.inspect(|entry| entry.end_afterwards(outcome));
        }
    }

    /// Closes the link some time after the last operation, so that the object can leave memory.
    pub(super) fn rest(self: &Rc<Self>) {
        if self.is_idle() && self.link.borrow().current().is_some() && !self.lingers.replace(true) {
            let gateway = Rc::clone(self);
            self.backend.state().wait_until(async move { gateway.linger().await });
        }
    }

    async fn linger(self: Rc<Self>) {
        loop {
            let started = self.started.get();
            Delay::from(LINGER).await;
            if !self.is_idle() {
                break;
            }
            if self.started.get() == started {
                self.link.borrow_mut().close();
                break;
            }
        }
        self.lingers.set(false);
    }

    fn is_idle(&self) -> bool {
        !self.clients.borrow().values().any(|client| client.is_busy())
    }
}

/// Nothing was sent over a link that did not come about, so that all may be sent again.
fn unheard(error: Error) -> Error {
    if error.code == Code::Interrupted { Fault::NotAdmitted.error() } else { error }
}
