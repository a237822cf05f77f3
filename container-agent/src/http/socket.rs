//! `GET /v1/connect`: operations over a WebSocket, many at once, each under the client's id.
//!
//! One task reads the socket and owns the operations; one writes. The reader never waits for an operation, so that it sees a
//! cancel or the end of the connection at once. Closing the socket ends every operation that runs on it.

mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod running;

use std::{pin::Pin, time::Duration};

use axum::{
    Extension,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    http::HeaderMap,
    response::Response,
};
use bytes::Bytes;
use cabana_protocol::{
    Code, Error,
    frame::{CANCEL, ClientFrame, INPUT, MAX_ID_BYTES, Ready, Reply},
    table::{self, DESCRIPTORS},
};
use futures_util::{Stream, StreamExt};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::answer::Failure;
use crate::{
    Agent, Busy,
    dispatch::{self, Conversation, Entry, Pending, Said, encode},
    server::Place,
};
use frames::Frames;
use running::Running;

/// Bytes read from a socket at a time, which it holds even while it is idle.
const READ_BYTES: usize = 16 << 10;

/// Bytes of small frames that are written together.
const WRITE_BYTES: usize = 16 << 10;

/// How long a client may take to take the last frames.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// The subprotocol that is answered to a client that offers it.
const SUBPROTOCOL: &str = "cabana";

pub(super) async fn connect(
    State(agent): State<Agent>,
    Extension(place): Extension<Place>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let refused = |rejection: WebSocketUpgradeRejection| {
        Failure::new(&headers, Error::invalid_request(format!("not a WebSocket: {}", rejection.body_text())))
    };
    // A message somewhat over the limit is answered; one far over it is not even taken in, and ends the socket.
    let most = 2 * agent.limits.request_bytes;
    let upgrade = upgrade.map_err(refused)?.protocols([SUBPROTOCOL]).max_message_size(most).max_frame_size(most);
    let upgrade = upgrade.read_buffer_size(READ_BYTES).write_buffer_size(WRITE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| async move {
        converse(agent, socket).await;
        drop(place);
    }))
}

async fn converse(agent: Agent, socket: WebSocket) {
    let closing = agent.closing.clone();
    let (sink, mut messages) = socket.split();
    let (frames, queue) = Frames::new();
    let mut writer = tokio::spawn(queue.write(sink));
    let mut connection = Connection { agent, frames, running: Running::default(), tasks: JoinSet::new() };
    connection.greet().await;
    let written = loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(Ok(Message::Text(text))) => connection.receive(&text).await,
                Some(Ok(Message::Binary(_))) => connection.refuse(Error::invalid_request("frames are text")).await,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => break false,
            },
            Some(_) = connection.tasks.join_next() => {}
            _ = &mut writer => break true,
            () = closing.cancelled() => break false,
        }
    };
    // Ends the operations; the writer ends when nobody can give it frames, or when the client does not take the last ones.
    drop(connection);
    if !written && timeout(LAST_FRAMES, &mut writer).await.is_err() {
        writer.abort();
    }
}

/// One socket and what runs on it.
struct Connection {
    agent: Agent,
    frames: Frames,
    running: Running,
    tasks: JoinSet<()>,
}

impl Connection {
    async fn greet(&self) {
        let operations = DESCRIPTORS.iter().map(|descriptor| descriptor.name.to_owned()).collect();
        if let Ok(ready) = encode(&Ready { version: env!("CARGO_PKG_VERSION").to_owned(), operations }) {
            self.frames.send(Reply::Ready, None, &ready).await;
        }
    }

    /// A frame that could not be tied to an operation.
    async fn refuse(&self, error: Error) {
        self.frames.error(None, error).await;
    }

    /// Takes a frame. What cannot be tied to an operation is answered by an error without an id.
    async fn receive(&mut self, text: &str) {
        let limit = self.agent.limits.request_bytes;
        if text.len() > limit {
            let error = Error::new(Code::PayloadTooLarge, format!("a frame has at most {limit} bytes"));
            return self.refuse(error.with_details(json!({ "limit_bytes": limit }))).await;
        }
        let Ok(frame) = serde_json::from_str::<ClientFrame>(text) else {
            return self.refuse(Error::invalid_request("not a frame: {\"type\": …, \"id\": …, \"payload\": …}")).await;
        };
        let (id, payload) = (frame.id.as_ref(), frame.payload.map_or("{}", |payload| payload.get()));
        let refused = match frame.kind.as_ref() {
            _ if id.is_empty() || id.len() > MAX_ID_BYTES => {
                Err(Error::invalid_request(format!("an id has 1 to {MAX_ID_BYTES} bytes")))
            }
            INPUT => self.tell(id, payload),
            CANCEL => {
                self.running.cancel(id);
                Ok(())
            }
            name => self.start(name, id, payload).await,
        };
        if let Err(error) = refused {
            self.refuse(error.with_details(json!({ "id": id }))).await;
        }
    }

    /// An operation that does not take what it is told is cancelled, rather than told the rest without what was refused.
    fn tell(&self, id: &str, input: &str) -> Result<(), Error> {
        let tell = self.running.tell(id);
        let tell = tell.ok_or_else(|| Error::not_found("no operation that takes inputs runs under this id"))?;
        tell(input.as_bytes()).inspect_err(|error| {
            if error.code == Code::TooManyRequests {
                self.running.cancel(id);
            }
        })
    }

    /// Starts an operation in a task of its own. Fails where the id cannot be used; all other failures are the operation's answer.
    async fn start(&mut self, name: &str, id: &str, payload: &str) -> Result<(), Error> {
        if self.running.contains(id) {
            return Err(Error::new(Code::Conflict, "an operation runs under this id"));
        }
        if let Err(error) = self.admit(name, id, payload) {
            self.frames.error(Some(id), error).await;
        }
        Ok(())
    }

    fn admit(&mut self, name: &str, id: &str, payload: &str) -> Result<(), Error> {
        let limit = self.agent.limits.operations_per_socket;
        if self.running.len() >= limit {
            let error = Error::new(Code::TooManyRequests, format!("{limit} operations run on this socket already"));
            return Err(error.with_details(json!({ "limit": limit })));
        }
        let wakes = table::find(name).is_some_and(|operation| operation.asleep.is_none());
        let busy = wakes.then(|| self.agent.activity.begin());
        let (agent, id, mut about) = (self.agent.clone(), id.to_owned(), String::new());
        match dispatch::find(name)? {
            Entry::Call(call) => {
                let answer = call(agent, Bytes::copy_from_slice(payload.as_bytes()), &mut about)?;
                let cancel = self.running.call(&id);
                self.tasks.spawn(answer_once(self.ends(id, busy), answer, cancel));
            }
            Entry::Stream { start, .. } => {
                let events = frames::events(&id)?;
                let Conversation { said, tell, cancel } = start(agent, payload.as_bytes(), None, events, &mut about)?;
                self.running.stream(&id, tell, cancel);
                self.tasks.spawn(relay(self.ends(id, busy), said));
            }
        }
        Ok(())
    }

    fn ends(&self, id: String, busy: Option<Busy>) -> Ends {
        Ends { id, running: self.running.clone(), frames: self.frames.clone(), _busy: busy }
    }
}

/// What a running operation needs to answer under its id.
struct Ends {
    id: String,
    running: Running,
    frames: Frames,
    /// It keeps the sandbox awake until its last frame is on its way.
    _busy: Option<Busy>,
}

impl Ends {
    /// The last frame. The id is free before it is sent, so that the client may use it again at once.
    async fn end(self, answer: Result<Bytes, Error>) {
        self.running.forget(&self.id);
        match answer {
            Ok(response) => self.frames.send(Reply::Result, Some(&self.id), &response).await,
            Err(error) => self.frames.error(Some(&self.id), error).await,
        }
    }
}

async fn answer_once(ends: Ends, answer: Pending<Result<Bytes, Error>>, cancel: CancellationToken) {
    let interrupted = || Err(Error::new(Code::Interrupted, "cancelled; it may have been carried out"));
    let answer = cancel.run_until_cancelled(answer).await.unwrap_or_else(interrupted);
    ends.end(answer).await;
}

async fn relay(ends: Ends, mut said: Pin<Box<dyn Stream<Item = Said> + Send>>) {
    while let Some(said) = said.next().await {
        match said {
            Said::Event(frame) => ends.frames.put(frame).await,
            Said::Result(response) => return ends.end(Ok(response)).await,
            Said::Error(error) => return ends.end(Err(error)).await,
        }
    }
}
