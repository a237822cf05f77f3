//! The one connection to the agent that carries what all clients of a sandbox say, see [`cabana_protocol::link`].

use cabana_protocol::{
    Code, Error,
    frame::{CANCEL, binary::Raw},
    link::{self, Body, Message, SUBPROTOCOL},
};
use futures_util::{StreamExt, future::AbortHandle};
use serde_json::json;
use worker::{Headers, Method, Request, RequestInit, Response, WebSocket, WebsocketEvent, web_sys};

use super::{
    budget::{Budget, Inputs},
    message::{Frame, Outgoing},
};
use crate::{fault::RETRY_AFTER_MS, token, wire::ORIGIN};

/// Bytes of a link that is open of which no account is kept: they are on their way.
const ON_THE_WAY: usize = 64 << 10;

/// The link, as far as it has come.
pub(super) struct Link {
    state: State,
    /// What waits until it is open, and then, until it has gone out.
    inputs: Inputs,
    /// Tells this link from earlier ones, whose words are late.
    generation: u64,
}

#[derive(Default)]
enum State {
    /// Nothing runs.
    #[default]
    Closed,
    /// The sandbox is being woken; messages wait.
    Opening(Vec<Waiting>),
    /// It is there.
    Open(WebSocket, AbortHandle),
}

/// A message that waits.
struct Waiting {
    client: u64,
    /// The operation that it is about, by the client's id.
    id: String,
    message: Outgoing,
}

impl Link {
    pub(super) fn new(budget: &Budget) -> Self {
        Self { state: State::Closed, inputs: budget.inputs(), generation: 0 }
    }

    /// Passes a client's frame on, or keeps it until the link is open. Returns the generation of a link that is now to be opened.
    pub(super) fn pass(&mut self, client: u64, id: &str, frame: Raw<'_>, binary: bool) -> Option<u64> {
        let message = match frame {
            Raw::Text(text) => Outgoing::Text(Message { client, body: Body::Frame { text, binary } }.to_string()),
            Raw::Binary(frame) => Outgoing::Binary(link::join(client, frame)),
        };
        if let State::Open(socket, _) = &self.state {
            message.send(socket);
            self.note_unsent();
            return None;
        }
        self.inputs.add(message.length());
        let message = Waiting { client, id: id.to_owned(), message };
        if let State::Opening(waiting) = &mut self.state {
            waiting.push(message);
            return None;
        }
        self.state = State::Opening(vec![message]);
        self.generation += 1;
        Some(self.generation)
    }

    /// Whether there is room for a frame of so many bytes. Fails with `too_many_requests`.
    pub(super) fn admit(&self, length: usize) -> Result<(), Error> {
        if self.inputs.has_room(length) {
            return Ok(());
        }
        let message = "too much waits for sandboxes to take it: send this again in a moment";
        Err(Error::new(Code::TooManyRequests, message)
            .with_details(json!({ "limit_bytes": Inputs::LIMIT, "retry_after_ms": RETRY_AFTER_MS })))
    }

    /// Takes account of what has not gone out of a link that is open. False where that is nothing worth an account.
    pub(super) fn note_unsent(&mut self) -> bool {
        let State::Open(socket, _) = &self.state else { return false };
        let unsent = AsRef::<web_sys::WebSocket>::as_ref(socket).buffered_amount() as usize;
        let counts = unsent > ON_THE_WAY;
        self.inputs.set(if counts { unsent } else { 0 });
        counts
    }

    /// Has an operation come to nothing that is not to get all that was said to it. False where the agent has not heard of it and never
    /// will; else it is told to cancel it.
    pub(super) fn cancel(&mut self, client: u64, id: &str) -> bool {
        match &mut self.state {
            State::Opening(_) => {
                self.retain(|waiting| (waiting.client, waiting.id.as_str()) != (client, id));
                false
            }
            State::Open(socket, _) => {
                let text = json!({ "type": CANCEL, "id": id }).to_string();
                Outgoing::Text(Message { client, body: Body::Frame { text: &text, binary: false } }.to_string()).send(socket);
                true
            }
            State::Closed => false,
        }
    }

    /// Keeps some of the messages that wait.
    fn retain(&mut self, kept: impl FnMut(&Waiting) -> bool) {
        if let State::Opening(waiting) = &mut self.state {
            waiting.retain(kept);
            self.inputs.set(waiting.iter().map(|waiting| waiting.message.length()).sum());
        }
    }

    /// Tells the agent something of a client.
    fn tell(&self, client: u64, body: Body<'_>) {
        if let State::Open(socket, _) = &self.state {
            Outgoing::Text(Message { client, body }.to_string()).send(socket);
        }
    }

    /// A client has gone: what it said and the agent has not heard is forgotten, and the agent ends what runs for it.
    pub(super) fn forget(&mut self, client: u64) {
        self.retain(|waiting| waiting.client != client);
        self.tell(client, Body::Gone);
    }

    /// Tells the agent what a client has taken.
    pub(super) fn taken(&self, client: u64, frames: u64) {
        self.tell(client, Body::Taken(frames));
    }

    /// The link is there: sends what waits. `end` stops whoever listens to it.
    pub(super) fn opened(&mut self, socket: &WebSocket, end: AbortHandle) {
        if let State::Opening(waiting) = std::mem::replace(&mut self.state, State::Open(socket.clone(), end)) {
            for waiting in waiting {
                waiting.message.send(socket);
            }
        }
        self.note_unsent();
    }

    /// This link has ended, or could not be made. False where that is old news.
    pub(super) fn lost(&mut self, generation: u64) -> bool {
        let news = self.generation == generation && !matches!(self.state, State::Closed);
        if news {
            self.close();
        }
        news
    }

    /// Ends the link, whatever it is at.
    pub(super) fn close(&mut self) {
        self.generation += 1;
        self.inputs.set(0);
        if let State::Open(socket, end) = std::mem::take(&mut self.state) {
            let _ = socket.close(Some(1000), None::<&str>);
            end.abort();
        }
    }

    /// Which one it is, where there is one.
    pub(super) fn current(&self) -> Option<u64> {
        (!matches!(self.state, State::Closed)).then_some(self.generation)
    }
}

/// What asks the agent for a link.
pub(super) fn request() -> Result<Request, Error> {
    let headers = Headers::new();
    let fields = [("upgrade", "websocket"), (token::SUBPROTOCOL_HEADER, SUBPROTOCOL)];
    let set = fields.into_iter().try_for_each(|(name, value)| headers.set(name, value));
    let mut init = RequestInit::new();
    init.with_method(Method::Get).with_headers(headers);
    let request = set.and_then(|()| Request::new_with_init(&format!("{ORIGIN}/v1/connect"), &init));
    request.map_err(|error| Error::internal(format!("the link cannot be asked for: {error}")))
}

/// The link that an agent's answer is. An agent that does not know links is older than this Worker.
pub(super) fn socket(response: Response) -> Result<WebSocket, Error> {
    let chosen = response.headers().get(token::SUBPROTOCOL_HEADER).ok().flatten();
    let status = response.status_code();
    let odd = || {
        Error::new(Code::AgentUnavailable, format!("the agent answered {status} to a WebSocket: is its image of this version?"))
    };
    response.websocket().filter(|_| chosen.as_deref() == Some(SUBPROTOCOL)).ok_or_else(odd)
}

/// Listens until the link ends, or says what no agent of ours says.
pub(super) async fn listen(socket: &WebSocket, mut hear: impl FnMut(&Frame) -> Option<()>) -> worker::Result<()> {
    AsRef::<web_sys::WebSocket>::as_ref(socket).set_binary_type(web_sys::BinaryType::Arraybuffer);
    // Before it is accepted, so that nothing is missed.
    let mut events = socket.events()?;
    socket.accept()?;
    while let Some(event) = events.next().await {
        let WebsocketEvent::Message(message) = event? else { break };
        let data = AsRef::<web_sys::MessageEvent>::as_ref(&message).data();
        if Frame::of(&data).as_ref().and_then(&mut hear).is_none() {
            break;
        }
    }
    Ok(())
}
