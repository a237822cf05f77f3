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
mod backend;
mod behind;
mod client;
mod closing;
mod credentials;
mod flow;
mod link;
mod message;
mod operations;
pub(crate) mod origin;
mod relay;
mod relayed;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Duration,
};

use cabana_protocol::{
    Code, Error,
    frame::{
        PING_FRAME, PONG, Ready, Reply,
        binary::{self, Raw},
    },
};
use serde_json::json;
use worker::{
    Delay, Request, Response, ResponseBuilder, WebSocket, WebSocketIncomingMessage, WebSocketPair,
    worker_sys::WebSocketRequestResponsePair,
};

pub(crate) use self::{backend::Backend, client::Busy};
use self::{client::Client, flow::Flows, link::Link};
use crate::{Principal, fault::Fault, reply, token};

/// Sockets on one sandbox.
const MAX_SOCKETS: usize = 1_100;

/// The subprotocol that is answered to a client that offers it.
const SUBPROTOCOL: &str = "cabana";

/// How often a client that sends more than the link takes is looked at.
const FULL_PAUSE: Duration = Duration::from_millis(20);

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
    flows: RefCell<Flows>,
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
            flows: RefCell::default(),
            behind: RefCell::default(),
        });
        gateway.note_expiry();
        gateway
    }

    /// Accepts a client's socket and greets it. Does not wake the sandbox.
    ///
    /// Fails with `not_found`, `invalid_request` (not a WebSocket), `unauthorized` (the credentials have just ended) and
    /// `too_many_requests`.
    pub(crate) fn accept(self: &Rc<Self>, request: &Request, principal: Principal) -> Result<Response, Error> {
        self.backend.sandbox(&principal)?;
        let header = |name: &str| request.headers().get(name).ok().flatten();
        if !header("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
            return Err(Error::invalid_request("not a WebSocket: the request asks for no upgrade"));
        }
        let url = request.url().map_err(failed)?;
        let binary = binary::asked_for(url.query().unwrap_or_default())?;
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

    /// Takes a message. The client is not read while this waits.
    pub(crate) async fn message(self: &Rc<Self>, socket: &WebSocket, message: WebSocketIncomingMessage) {
        let Some(client) = self.client(socket) else { return };
        match message {
            WebSocketIncomingMessage::Binary(_) if !client.binary => {
                return client.refuse(None, &Error::invalid_request(binary::NOT_ASKED_FOR));
            }
            WebSocketIncomingMessage::Binary(frame) => self.receive(&client, Raw::Binary(&frame)),
            WebSocketIncomingMessage::String(text) => self.receive(&client, Raw::Text(&text)),
        }
        while self.link.borrow().is_full() {
            Delay::from(FULL_PAUSE).await;
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

    /// The client of a socket; `None` for one that we have given up.
    fn client(&self, socket: &WebSocket) -> Option<Rc<Client>> {
        let number = self.backend.state().get_tags(socket).first()?.parse().ok()?;
        self.clients.borrow().get(&number).cloned()
    }
}

fn failed(error: worker::Error) -> Error {
    Error::internal(format!("the socket cannot be accepted: {error}"))
}
