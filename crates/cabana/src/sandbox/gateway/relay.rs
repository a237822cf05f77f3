//! Between the clients and the agent: the [`link`], from the first operation until some time after the last, and what comes over it.

use std::{pin::pin, rc::Rc, time::Duration};

use cabana_protocol::{
    Error,
    audit::Outcome,
    frame::{binary::Raw, close},
};
use futures_util::future::{self, AbortHandle, Abortable, Either};
use worker::{Delay, WebSocket};

use super::{
    super::{agent::Agent, forward::check, runtime::Lease},
    Gateway,
    client::Client,
    link,
    message::Frame,
    relayed::Relayed,
};
use crate::{fault::Fault, log};

/// How long the link stays after the last operation: the next one often comes at once.
const LINGER: Duration = Duration::from_secs(1);

/// How often it is looked what has not gone out of the link.
const DRAIN_PAUSE: Duration = Duration::from_millis(20);

/// How often a link is asked for: an agent that was trusted may be gone.
const LINK_ATTEMPTS: u32 = 2;

impl Gateway {
    /// Passes a frame on to the agent, over a link that is made if there is none.
    pub(super) fn pass(self: &Rc<Self>, client: &Client, id: &str, frame: Raw<'_>) {
        let opens = self.link.borrow_mut().pass(client.number, id, frame, client.binary);
        if let Some(generation) = opens {
            let gateway = Rc::clone(self);
            self.state().wait_until(async move { gateway.link_up(generation).await });
        }
        self.watch_unsent();
    }

    /// Keeps account of what has not gone out of the link, for as long as there is any.
    fn watch_unsent(self: &Rc<Self>) {
        if self.link.borrow_mut().note_unsent() && !self.drains.replace(true) {
            let gateway = Rc::clone(self);
            self.state().wait_until(async move {
                while gateway.link.borrow_mut().note_unsent() {
                    Delay::from(DRAIN_PAUSE).await;
                }
                gateway.drains.set(false);
            });
        }
    }

    async fn link_up(self: Rc<Self>, generation: u64) {
        let opened = self.open_link().await;
        let (socket, lease) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.lost(generation, &error),
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
            self.watch_unsent();
            future::select(pin!(self.reassure(generation)), pin!(lease.lost())).await;
        };
        let listening = async {
            let hear = |message: &Frame| {
                // Whatever the agent says shows that it is alive.
                lease.answered();
                self.hear(message)
            };
            let heard = pin!(link::listen(&socket, hear));
            if let Either::Left((Err(error), _)) = future::select(heard, pin!(opened)).await {
                log::warn(None, &format!("the link to the agent failed: {error}"));
            }
        };
        if Abortable::new(listening, registration).await.is_ok() {
            // It has broken, and was not closed.
            lease.failed();
        }
        self.lost(generation, &Fault::Interrupted.error());
    }

    /// Asks the agent for a link, waking the sandbox. Nothing was sent over a link that did not come about, so that all may be sent again.
    async fn open_link(&self) -> Result<(WebSocket, Lease), Error> {
        for _ in 0..LINK_ATTEMPTS {
            // Operations keep the sandbox awake, and the link does not.
            let lease = self.supervisor.ready_quietly().await?;
            match Agent::new(&lease)?.fetch(&link::request()?, None).await {
                Ok(response) => return link::socket(check(response)?).map(|socket| (socket, lease)),
                Err(error) => {
                    log::warn(None, &format!("the agent did not open a link: {error}"));
                    lease.failed();
                }
            }
        }
        Err(Fault::NotAdmitted.error())
    }

    /// Now and then asks about the clients' keys, and shows clients that wait in silence that their connections are alive, for as long as
    /// this link lasts.
    async fn reassure(self: &Rc<Self>, generation: u64) {
        while self.link.borrow().current() == Some(generation) {
            Delay::from(self.supervisor.store().rules().timings.heartbeat * 2).await;
            self.confirm_busy();
            self.reassure_busy();
        }
    }

    /// Shows those who wait that their connections are alive. Who waits for nothing asks by a ping, which wakes nobody.
    fn reassure_busy(&self) {
        self.clients.borrow().values().filter(|client| client.is_busy()).for_each(|client| client.reassure());
    }

    /// A link has ended, and with it what ran on it.
    fn lost(self: &Rc<Self>, generation: u64, error: &Error) {
        if !self.link.borrow_mut().lost(generation) {
            return;
        }
        self.interrupt(error);
    }

    /// The object is reset in a moment: clients are told to connect again. Their commands go on for a while.
    pub(super) fn reset(self: &Rc<Self>) {
        // First of all, so that the agent does not hear of clients that hang up.
        self.link.borrow_mut().close();
        self.interrupt(&Fault::Interrupted.error());
        self.close_all(|_| true, close::RECONNECT, "reconnect");
    }

    /// What runs gets no more answers but this one.
    fn interrupt(&self, error: &Error) {
        let clients: Vec<_> = self.clients.borrow().values().filter(|client| client.is_busy()).cloned().collect();
        for client in clients {
            let running = client.running.borrow_mut().clear();
            client.save();
            for id in running.ids().filter(|id| !client.is_refused(id)) {
                client.refuse(Some(id), error);
            }
            client.forget_refused();
            for entry in running.guards().filter_map(|guard| guard.entry.as_ref()) {
                entry.end_deferred(Outcome::Failed(error.code));
            }
        }
    }

    /// Passes a frame of the agent on. `None` for what no agent of ours says.
    fn hear(self: &Rc<Self>, message: &Frame) -> Option<()> {
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
        let mut wanted = true;
        if let Some(id) = id {
            client.count(&id, 0, frame.length());
            // One that was told that its operation is over gets nothing more of it.
            wanted = !client.is_refused(&id);
            ends.inspect(|outcome| self.end(client, &id, *outcome));
        }
        let queue = client.queue();
        if wanted {
            client.pass_on(frame);
        }
        let taken = self.flows.borrow_mut().sent(client.number, frame.length(), queue);
        match taken {
            Some(0) => {}
            Some(frames) => self.link.borrow().taken(client.number, frames),
            None => self.watch_slow(client.number),
        }
        self.shed();
    }

    /// An operation has ended. Its id is free before its last frame is sent, so that the client may use it again at once.
    pub(super) fn end(self: &Rc<Self>, client: &Client, id: &str, outcome: Outcome) {
        let guard = client.finish(id);
        if let Some(guard) = guard {
            client.save();
            self.rest();
            guard.entry.inspect(|entry| entry.end_deferred(outcome));
        }
    }

    /// Closes the link some time after the last operation, so that the object can leave memory.
    pub(super) fn rest(self: &Rc<Self>) {
        if self.is_idle() && self.link.borrow().current().is_some() && !self.lingers.replace(true) {
            let gateway = Rc::clone(self);
            self.state().wait_until(async move { gateway.linger().await });
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
