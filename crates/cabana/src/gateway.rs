//! Clients' WebSockets, which end in the Durable Object.
//!
//! A client stays connected whatever happens behind the object: while the sandbox sleeps, starts and stops, and while the object is not
//! in memory (the platform keeps hibernating sockets). All that clients say goes to the agent over one connection, the [`link`], which
//! is there only while something runs: an object with idle clients costs nothing.
//!
//! A frame is judged by its envelope ([`admission`]); its payload is not decoded. Frames of the agent are passed on by cutting off what
//! says whose they are ([`relayed`]), without a copy into this module's memory. How much is on its way to a client that does not read is
//! bounded ([`flow`]).

mod admission;
mod client;
mod flow;
mod link;
pub(crate) mod origin;
mod relayed;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    pin::pin,
    rc::Rc,
    time::Duration,
};

use cabana_protocol::{
    Code, Error, SandboxId,
    audit::Outcome,
    frame::{PING_FRAME, PONG, Ready, Reply, close},
    link::{Body, Message},
    table::Descriptor,
};
use futures_util::future::{self, AbortHandle, Abortable, Either, LocalBoxFuture};
use js_sys::JsString;
use serde_json::json;
use worker::{
    Date, Delay, Request, Response, ResponseBuilder, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
    worker_sys::WebSocketRequestResponsePair,
};

pub(crate) use self::client::Busy;
use self::{
    admission::{Refusal, Verdict, judge},
    client::{Client, Guard},
    flow::Look,
    link::Link,
    relayed::{HEAD, Relayed},
};
use crate::{Principal, fault::Fault, log, reply, sandbox::audit::Entry, token};

/// Sockets on one sandbox.
const MAX_SOCKETS: usize = 1_100;

/// The subprotocol that is answered to a client that offers it.
const SUBPROTOCOL: &str = "cabana";

/// How long the link stays after the last operation: the next one often comes at once.
const LINGER: Duration = Duration::from_secs(1);

/// How long the agent may say nothing to those who wait for it before it is asked how it is. Long silence is no fault.
const SILENCE: Duration = Duration::from_secs(10);

/// How often clients that are behind are looked at: at first, and at most, each pause being twice the one before.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(250);

/// How often a client that sends more than the link takes is looked at.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// What is behind the gateway.
pub(crate) trait Backend {
    /// The platform's handle on the object.
    fn state(&self) -> &State;

    /// The sandbox that it is. Fails with `not_found`, also for whom it is hidden from.
    fn sandbox(&self, principal: &Principal) -> Result<SandboxId, Error>;

    /// Wakes the sandbox and has its agent answer.
    fn call(self: Rc<Self>, request: Request) -> LocalBoxFuture<'static, Result<Response, Error>>;

    /// Asks the agent how it is, and sees to it that one that hangs is replaced.
    fn is_well(self: Rc<Self>) -> LocalBoxFuture<'static, bool>;

    /// What is answered without the agent, as JSON, because the operation does not wake a sandbox and this one sleeps.
    fn asleep(&self, operation: &Descriptor) -> Option<&'static str>;

    /// Keeps the sandbox awake for an operation.
    fn busy(self: Rc<Self>, operation: &Descriptor) -> Option<Busy>;

    /// Enters an operation of a client, under the client's id, in the audit.
    fn enter(self: Rc<Self>, principal: &Principal, operation: &str, id: &str) -> Option<Entry>;

    /// The first of the clients' credentials end then, in milliseconds since 1970; `None` where none do.
    fn expires(self: Rc<Self>, at_ms: Option<u64>);
}

/// The sockets of one sandbox.
pub(crate) struct Gateway {
    backend: Rc<dyn Backend>,
    clients: RefCell<HashMap<u64, Rc<Client>>>,
    next_number: Cell<u64>,
    link: RefCell<Link>,
    /// Operations started since the object came into memory.
    started: Cell<u64>,
    /// Messages of the agent since then.
    heard: Cell<u64>,
    /// Whether somebody waits to close an idle link.
    lingers: Cell<bool>,
    /// Clients that are behind; somebody looks after them while there are any.
    behind: RefCell<Vec<u64>>,
}

impl Gateway {
    /// Takes up the sockets that have outlived the object's time in memory. What ran for them has lost its link.
    pub(crate) fn load(backend: Rc<dyn Backend>) -> Rc<Self> {
        let resumed: Vec<_> = backend.state().get_websockets().into_iter().filter_map(Client::resume).collect();
        let next_number = resumed.iter().map(|(client, _)| client.number + 1).max().unwrap_or(0);
        for (client, interrupted) in resumed.iter().filter(|(_, running)| !running.is_empty()) {
            for id in interrupted {
                client.refuse(Some(id), &Fault::Interrupted.error());
            }
            client.save();
        }
        let clients = resumed.into_iter().map(|(client, _)| (client.number, Rc::new(client))).collect();
        let gateway = Rc::new(Self {
            backend,
            clients: RefCell::new(clients),
            next_number: Cell::new(next_number),
            link: RefCell::default(),
            started: Cell::new(0),
            heard: Cell::new(0),
            lingers: Cell::new(false),
            behind: RefCell::default(),
        });
        gateway.note_expiry();
        gateway
    }

    /// Accepts a client's socket and greets it. Does not wake the sandbox.
    ///
    /// Fails with `not_found`, `invalid_request` (not a WebSocket), `unauthorized` (the credentials have just ended) and
    /// `too_many_requests`.
    pub(crate) fn accept(&self, request: &Request, principal: Principal) -> Result<Response, Error> {
        self.backend.sandbox(&principal)?;
        let header = |name: &str| request.headers().get(name).ok().flatten();
        if !header("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
            return Err(Error::invalid_request("not a WebSocket: the request asks for no upgrade"));
        }
        if self.clients.borrow().len() >= MAX_SOCKETS {
            let error = Error::new(Code::TooManyRequests, format!("{MAX_SOCKETS} sockets are open on this sandbox already"));
            return Err(error.with_details(json!({ "limit": MAX_SOCKETS })));
        }
        let pair = WebSocketPair::new().map_err(failed)?;
        let state = self.backend.state();
        let number = self.next_number.replace(self.next_number.get() + 1);
        state.accept_websocket_with_tags(&pair.server, &[&number.to_string()]);
        let answer = WebSocketRequestResponsePair::new(PING_FRAME, PONG).map_err(worker::Error::from).map_err(failed)?;
        state.set_websocket_auto_response(&answer);
        let client = Client::new(number, principal, pair.server);
        client.save();
        client.send(Reply::Ready, None, &Ready::of(env!("CARGO_PKG_VERSION")));
        self.clients.borrow_mut().insert(number, Rc::new(client));
        self.note_expiry();
        let response = ResponseBuilder::new().with_status(101).with_websocket(pair.client).empty();
        let offered = header(token::SUBPROTOCOL_HEADER).unwrap_or_default();
        let chosen = offered.split(',').any(|protocol| protocol.trim() == SUBPROTOCOL);
        Ok(if chosen { reply::with_header(response, token::SUBPROTOCOL_HEADER, SUBPROTOCOL) } else { response })
    }

    /// Takes a message. The client is not read while this waits.
    pub(crate) async fn message(self: &Rc<Self>, socket: &WebSocket, message: WebSocketIncomingMessage) {
        let Some(client) = self.client(socket) else { return };
        match message {
            WebSocketIncomingMessage::String(text) => {
                self.receive(&client, &text);
                while self.link.borrow().is_full() {
                    Delay::from(FULL_PAUSE).await;
                }
            }
            WebSocketIncomingMessage::Binary(_) => client.refuse(None, &Error::invalid_request("frames are text")),
        }
    }

    /// A client has closed its socket, or is gone.
    pub(crate) fn closed(self: &Rc<Self>, socket: &WebSocket) {
        if let Some(client) = self.client(socket) {
            // Where the runtime does not answer a close by itself; elsewhere it does nothing.
            client.close(1000, "");
            self.forget(&client);
        }
    }

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

    fn forget(self: &Rc<Self>, client: &Client) {
        if self.clients.borrow_mut().remove(&client.number).is_some() {
            client.running.take();
            self.link.borrow_mut().forget(client.number);
            self.note_expiry();
            self.rest();
        }
    }

    fn note_expiry(&self) {
        Rc::clone(&self.backend).expires(self.expires_at_ms());
    }

    fn expires_at_ms(&self) -> Option<u64> {
        self.clients.borrow().values().filter_map(|client| client.principal.expires_at_ms).min()
    }

    /// The client of a socket; `None` for one that we have given up.
    fn client(&self, socket: &WebSocket) -> Option<Rc<Client>> {
        let number = self.backend.state().get_tags(socket).first()?.parse().ok()?;
        self.clients.borrow().get(&number).cloned()
    }

    fn receive(self: &Rc<Self>, client: &Rc<Client>, text: &str) {
        // The alarm closes it as well, a little later.
        self.expire(Date::now().as_millis());
        if !self.clients.borrow().contains_key(&client.number) {
            return;
        }
        let judged = match self.backend.sandbox(&client.principal) {
            Ok(sandbox) => judge(text, &client.principal, &sandbox, &client.running.borrow()),
            Err(error) => Err(Refusal { id: None, operation: None, error }),
        };
        match judged {
            Ok(Verdict::Pong) => client.send_text(PONG),
            Ok(Verdict::Pass) => self.pass(client, text),
            Ok(Verdict::Start { id, operation }) => self.start(client, id, operation, text),
            Err(Refusal { id, operation, error }) => {
                client.refuse(id.as_deref(), &error);
                let entry = operation.zip(id).and_then(|(operation, id)| self.enter(client, &operation, &id, text.len()));
                entry.inspect(|entry| entry.end_afterwards(Outcome::Failed(error.code)));
            }
        }
    }

    fn start(self: &Rc<Self>, client: &Rc<Client>, id: String, operation: &'static Descriptor, text: &str) {
        let entry = self.enter(client, operation.name, &id, text.len());
        if let Some(answer) = self.backend.asleep(operation) {
            if let Some(entry) = entry {
                entry.count(None, Some(answer.len() as u64));
                entry.end_afterwards(Outcome::OK);
            }
            return client.send(Reply::Result, Some(&id), &serde_json::value::RawValue::from_string(answer.to_owned()).ok());
        }
        let busy = Rc::clone(&self.backend).busy(operation);
        client.running.borrow_mut().insert(id, operation, Guard { _busy: busy, entry });
        client.save();
        self.started.set(self.started.get() + 1);
        self.pass(client, text);
    }

    fn enter(&self, client: &Client, operation: &str, id: &str, bytes: usize) -> Option<Entry> {
        let entry = Rc::clone(&self.backend).enter(&client.principal, operation, id)?;
        entry.count(Some(bytes as u64), None);
        Some(entry)
    }

    /// Passes a frame on to the agent, over a link that is made if there is none.
    fn pass(self: &Rc<Self>, client: &Client, frame: &str) {
        let opens = self.link.borrow_mut().send(Message { client: client.number, body: Body::Frame(frame) });
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

    /// Asks the agent how it is when it has been silent for long while somebody waits for it. Returns when it is not well.
    async fn watch(&self, generation: u64) {
        loop {
            let heard = self.heard.get();
            Delay::from(SILENCE).await;
            let silent = self.heard.get() == heard && !self.is_idle();
            if self.link.borrow().current() != Some(generation) || silent && !Rc::clone(&self.backend).is_well().await {
                return;
            }
        }
    }

    /// What runs on a link that has ended gets no more answers but this one.
    fn lost(self: &Rc<Self>, generation: u64, error: &Error) {
        if !self.link.borrow_mut().lost(generation) {
            return;
        }
        let clients: Vec<_> =
            self.clients.borrow().values().filter(|client| client.running.borrow().len() > 0).cloned().collect();
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
    fn hear(self: &Rc<Self>, message: &JsString) -> Option<()> {
        self.heard.set(self.heard.get() + 1);
        let head = String::from(message.slice(0, HEAD));
        match Relayed::parse(&head)? {
            Relayed::Frame { client, at, ends } => {
                let client = self.clients.borrow().get(&client).cloned();
                // One that has just gone needs no more.
                if let Some(client) = client {
                    self.deliver(&client, &message.slice(at, message.length()), ends);
                }
            }
            Relayed::GivenUp { client } => {
                let client = self.clients.borrow().get(&client).cloned();
                client.inspect(|client| self.give_up(client));
            }
        }
        Some(())
    }

    fn deliver(self: &Rc<Self>, client: &Rc<Client>, frame: &JsString, ends: Option<(String, Outcome)>) {
        // The id is free before its last frame is sent, so that the client may use it again at once.
        if let Some((id, outcome)) = ends {
            let guard = client.running.borrow_mut().remove(&id);
            if let Some(guard) = guard {
                client.save();
                self.rest();
                if let Some(entry) = guard.entry {
                    entry.count(None, Some(frame.length().into()));
                    entry.end_afterwards(outcome);
                }
            }
        }
        let queue = client.queue();
        client.pass_on(frame);
        let taken = client.flow.borrow_mut().sent(frame.length(), queue);
        match taken {
            Some(0) => {}
            Some(frames) => self.link.borrow_mut().taken(client.number, frames),
            None => self.look_after(client.number),
        }
    }

    /// Closes the socket of a client that does not read.
    fn give_up(self: &Rc<Self>, client: &Client) {
        client.close(close::TOO_SLOW, "what was sent was not taken: process.attach goes on from an offset");
        self.forget(client);
    }

    /// Sees to it that a client that is behind is looked at until it has caught up.
    fn look_after(self: &Rc<Self>, client: u64) {
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
            client.flow.take();
            return false;
        }
        let look = client.flow.borrow_mut().look(client.queue(), pause);
        match look {
            Look::Taken(frames) => self.link.borrow_mut().taken(number, frames),
            Look::Behind => return true,
            Look::Stalled => self.give_up(&client),
        }
        false
    }

    /// Closes the link some time after the last operation, so that the object can leave memory.
    fn rest(self: &Rc<Self>) {
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
        self.clients.borrow().values().all(|client| client.running.borrow().len() == 0)
    }
}

/// Nothing was sent over a link that did not come about, so that all may be sent again.
fn unheard(error: Error) -> Error {
    if error.code == Code::Interrupted { Fault::NotAdmitted.error() } else { error }
}

fn failed(error: worker::Error) -> Error {
    Error::internal(format!("the socket cannot be accepted: {error}"))
}
