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
mod budget;
mod client;
mod clients;
mod flow;
mod link;
mod message;
mod operations;
mod relay;
mod relayed;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use cabana_protocol::{
    Code, Error, SandboxId,
    frame::{
        PING_FRAME, PONG, Ready, Reply,
        binary::{self, Raw},
    },
};
use serde_json::json;
use worker::{
    Request, Response, ResponseBuilder, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
    worker_sys::WebSocketRequestResponsePair,
};

use self::{budget::Budget, client::Client, flow::Flows, link::Link};
use super::{object::Object, runtime::Supervisor, store::not_found};
use crate::{
    Database, Principal,
    audit::Audit,
    fault::Fault,
    lifecycle::{Deadline, Deadlines, Instant},
    reply, token,
};

/// Sockets on one sandbox.
const MAX_SOCKETS: usize = 1_100;

/// The subprotocol that is answered to a client that offers it.
const SUBPROTOCOL: &str = "cabana";

/// The sockets of one sandbox.
pub(super) struct Gateway {
    supervisor: Rc<Supervisor>,
    audit: Rc<Audit>,
    /// Where revoked keys are known; `None` where the deployment has no database.
    database: Option<Database>,
    clients: RefCell<HashMap<u64, Rc<Client>>>,
    next_number: Cell<u64>,
    link: RefCell<Link>,
    /// Operations started since the object came into memory.
    started: Cell<u64>,
    /// When the first of the clients' credentials end.
    credentials_end: Rc<Cell<Option<Instant>>>,
    /// Whether somebody waits to close an idle link.
    lingers: Cell<bool>,
    /// Whether somebody watches what has not gone out of the link.
    drains: Cell<bool>,
    flows: RefCell<Flows>,
    /// Clients that are behind; somebody looks after them while there are any.
    behind: RefCell<Vec<u64>>,
}

impl Gateway {
    /// Takes up the sockets that have outlived the object's time in memory. What ran for them has lost its link.
    pub(super) fn load(object: &Object) -> Rc<Self> {
        let supervisor = Rc::clone(&object.supervisor);
        let resumed: Vec<_> = supervisor.platform().state().get_websockets().into_iter().filter_map(Client::resume).collect();
        let next_number = resumed.iter().map(|(client, _)| client.number + 1).max().unwrap_or(0);
        for (client, interrupted) in resumed.iter().filter(|(_, running)| !running.is_empty()) {
            for id in interrupted {
                client.refuse(Some(id), &Fault::Interrupted.error());
            }
            client.save();
        }
        let clients = resumed.into_iter().map(|(client, _)| (client.number, Rc::new(client))).collect();
        let credentials_end = Rc::new(Cell::default());
        let end = Rc::clone(&credentials_end);
        supervisor.add_deadlines(move || Deadlines::default().with(Deadline::Credentials, end.get()));
        let budget = Budget::of_isolate();
        let gateway = Rc::new(Self {
            supervisor,
            audit: Rc::clone(&object.audit),
            database: object.database.clone(),
            credentials_end,
            clients: RefCell::new(clients),
            next_number: Cell::new(next_number),
            link: RefCell::new(Link::new(&budget)),
            started: Cell::new(0),
            lingers: Cell::new(false),
            drains: Cell::new(false),
            flows: RefCell::new(Flows::new(&budget)),
            behind: RefCell::default(),
        });
        gateway.note_expiry();
        let resetting = Rc::downgrade(&gateway);
        gateway.supervisor.on_reset(move || {
            if let Some(gateway) = resetting.upgrade() {
                gateway.reset();
            }
        });
        gateway
    }

    /// Accepts a client's socket and greets it. Does not wake the sandbox.
    ///
    /// Fails with `not_found`, `invalid_request` (not a WebSocket), `unauthorized` (the credentials have just ended),
    /// `too_many_requests`, and `not_implemented` where the runtime does not say how much waits for a client.
    pub(super) fn accept(self: &Rc<Self>, request: &Request, principal: Principal) -> Result<Response, Error> {
        self.sandbox(&principal)?;
        let url = request.url().map_err(failed)?;
        let binary = binary::asked_for(url.query().unwrap_or_default())?;
        let header = |name: &str| request.headers().get(name).ok().flatten();
        if !header("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
            return Err(Error::invalid_request("not a WebSocket: the request asks for no upgrade"));
        }
        if self.clients.borrow().len() >= MAX_SOCKETS {
            let error = Error::new(Code::TooManyRequests, format!("{MAX_SOCKETS} sockets are open on this sandbox already"));
            return Err(error.with_details(json!({ "limit": MAX_SOCKETS })));
        }
        let pair = WebSocketPair::new().map_err(failed)?;
        if !client::tells_its_queue(&pair.server) {
            // Without it, everyone would seem to have read everything, and what waits would have no bound.
            let message = "the runtime is too old for WebSockets: it has no WebSocket.bufferedAmount (workerd 1.20261117)";
            return Err(Error::new(Code::NotImplemented, message));
        }
        let state = self.state();
        let number = self.next_number.replace(self.next_number.get() + 1);
        state.accept_websocket_with_tags(&pair.server, &[&number.to_string()]);
        let answer = WebSocketRequestResponsePair::new(PING_FRAME, PONG).map_err(worker::Error::from).map_err(failed)?;
        state.set_websocket_auto_response(&answer);
        let client = Client::new(number, principal, binary, pair.server);
        client.save();
        client.send(Reply::Ready, None, &Ready::of(env!("CARGO_PKG_VERSION")));
        let client = Rc::new(client);
        self.clients.borrow_mut().insert(number, Rc::clone(&client));
        self.note_expiry();
        self.confirm(&client);
        let response = ResponseBuilder::new().with_status(101).with_websocket(pair.client).empty();
        let offered = header(token::SUBPROTOCOL_HEADER).unwrap_or_default();
        let chosen = offered.split(',').any(|protocol| protocol.trim() == SUBPROTOCOL);
        Ok(if chosen { reply::with_header(response, token::SUBPROTOCOL_HEADER, SUBPROTOCOL) } else { response })
    }

    /// Takes a message.
    pub(super) fn message(self: &Rc<Self>, socket: &WebSocket, message: WebSocketIncomingMessage) {
        let Some(client) = self.client(socket) else { return };
        match message {
            WebSocketIncomingMessage::Binary(_) if !client.binary => {
                client.refuse(None, &Error::invalid_request(binary::NOT_ASKED_FOR));
            }
            WebSocketIncomingMessage::Binary(frame) => self.receive(&client, Raw::Binary(&frame)),
            WebSocketIncomingMessage::String(text) => self.receive(&client, Raw::Text(&text)),
        }
    }

    /// A client has closed its socket, or is gone.
    pub(super) fn closed(self: &Rc<Self>, socket: &WebSocket) {
        if let Some(client) = self.client(socket) {
            // Where the runtime does not answer a close by itself; elsewhere it does nothing.
            client.close(1000, "");
            self.forget(&client);
        }
    }

    /// The sandbox that it is. Fails with `not_found`, also for whom it is hidden from.
    fn sandbox(&self, principal: &Principal) -> Result<SandboxId, Error> {
        self.supervisor.store().admit(principal)?;
        self.supervisor.store().record().map(|record| record.id.clone()).map_err(|_| not_found())
    }

    /// The platform's handle on the object.
    fn state(&self) -> &State {
        self.supervisor.platform().state()
    }

    /// The client of a socket; `None` for one that we have given up.
    fn client(&self, socket: &WebSocket) -> Option<Rc<Client>> {
        let number = self.state().get_tags(socket).first()?.parse().ok()?;
        self.clients.borrow().get(&number).cloned()
    }
}

fn failed(error: worker::Error) -> Error {
    Error::internal(format!("the socket cannot be accepted: {error}"))
}
