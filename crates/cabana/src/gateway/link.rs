//! The one connection to the agent that carries what all clients of a sandbox say, see [`cabana_protocol::link`].

use cabana_protocol::{
    Code, Error,
    frame::binary::Raw,
    link::{self, Body, Message, SUBPROTOCOL},
};
use futures_util::{StreamExt, future::AbortHandle};
use worker::{Headers, Method, Request, RequestInit, Response, WebSocket, WebsocketEvent, web_sys};

use super::message::{Frame, Outgoing};
use crate::{handle::ORIGIN, token};

/// Bytes that may wait for the link; a client that sends more is not read meanwhile.
const WAITING_BYTES: usize = 16 << 20;

/// The link, as far as it has come.
#[derive(Default)]
pub(super) struct Link {
    state: State,
    /// Tells this link from earlier ones, whose words are late.
    generation: u64,
}

#[derive(Default)]
enum State {
    /// Nothing runs.
    #[default]
    Closed,
    /// The sandbox is being woken; messages wait, with their clients' numbers.
    Opening(Vec<(u64, Outgoing)>),
    /// It is there.
    Open(WebSocket, AbortHandle),
}

impl Link {
    /// Passes a client's frame on, or keeps it until the link is open. Returns the generation of a link that is now to be opened.
    pub(super) fn pass(&mut self, client: u64, frame: Raw<'_>, binary: bool) -> Option<u64> {
        let message = match frame {
            Raw::Text(text) => Outgoing::Text(Message { client, body: Body::Frame { text, binary } }.to_string()),
            Raw::Binary(frame) => Outgoing::Binary(link::join(client, frame)),
        };
        match &mut self.state {
            State::Open(socket, _) => {
                message.send(socket);
                None
            }
            State::Opening(waiting) => {
                waiting.push((client, message));
                None
            }
            State::Closed => {
                self.state = State::Opening(vec![(client, message)]);
                self.generation += 1;
                Some(self.generation)
            }
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
        match &mut self.state {
            State::Opening(waiting) => waiting.retain(|(number, _)| *number != client),
            State::Open(..) => self.tell(client, Body::Gone),
            State::Closed => {}
        }
    }

    /// Tells the agent what a client has taken.
    pub(super) fn taken(&self, client: u64, frames: u64) {
        self.tell(client, Body::Taken(frames));
    }

    /// Whether no more should be sent.
    pub(super) fn is_full(&self) -> bool {
        let waiting = match &self.state {
            State::Opening(waiting) => waiting.iter().map(|(_, message)| message.length()).sum(),
            State::Open(socket, _) => AsRef::<web_sys::WebSocket>::as_ref(socket).buffered_amount() as usize,
            State::Closed => 0,
        };
        waiting > WAITING_BYTES
    }

    /// The link is there: sends what waits. `end` stops whoever listens to it.
    pub(super) fn opened(&mut self, socket: &WebSocket, end: AbortHandle) {
        if let State::Opening(waiting) = std::mem::replace(&mut self.state, State::Open(socket.clone(), end)) {
            for (_, message) in waiting {
                message.send(socket);
            }
        }
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
