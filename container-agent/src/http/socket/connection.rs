//! What one client says over its socket, and what runs for it.

use std::pin::Pin;

use axum::extract::ws::Message;
use bytes::Bytes;
use cabana_protocol::{
    Code, Error,
    frame::{
        CANCEL, ClientFrame, INPUT, MAX_ID_BYTES, PING, Ready, Reply,
        binary::{self, Raw},
    },
    table,
};
use futures_util::{Stream, StreamExt};
use serde_json::{json, value::RawValue};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    frames::{Frames, text},
    running::Running,
};
use crate::{
    Agent, Busy,
    dispatch::{self, Answered, Asked, Conversation, Entry, Pending, Said, encode},
    limits,
};

/// Answers that may wait for a client to take them, beside those of the operations that run; a client that goes on to be refused
/// beyond that is not listened to.
const REFUSALS: usize = 64;

/// One client's socket, real or behind the link, and what runs on it. Dropping it ends that.
pub(super) struct Connection {
    pub(super) agent: Agent,
    frames: Frames,
    /// Whether the client takes binary frames, and may send them.
    binary: bool,
    running: Running,
    /// Operations, and answers that wait to be sent.
    pub(super) tasks: JoinSet<()>,
}

impl Connection {
    pub(super) fn new(agent: Agent, frames: Frames, binary: bool) -> Self {
        Self { agent, frames, binary, running: Running::default(), tasks: JoinSet::new() }
    }

    pub(super) async fn greet(&self) {
        if let Ok(ready) = encode(&Ready::of(env!("CARGO_PKG_VERSION"))) {
            self.frames.send(Reply::Ready, None, &ready).await;
        }
    }

    /// Whether the client is sent more than it takes.
    pub(super) fn is_overloaded(&self) -> bool {
        self.tasks.len() >= self.agent.limits.operations_per_socket + REFUSALS
    }

    /// Takes a frame. What cannot be tied to an operation is answered by an error without an id.
    pub(super) fn receive(&mut self, frame: Raw<'_>) {
        let (head, bytes) = match self.open(frame) {
            Ok(opened) => opened,
            Err(error) => return self.refuse(None, error),
        };
        let Ok(frame) = serde_json::from_str::<ClientFrame<'_>>(head) else {
            return self.refuse(None, Error::invalid_request("not a frame: {\"type\": …, \"id\": …, \"payload\": …}"));
        };
        let id = frame.id.as_ref();
        let asked = || Asked { json: frame.payload.map_or("{}", RawValue::get).as_bytes(), bytes: Bytes::copy_from_slice(bytes) };
        let refused = match frame.kind.as_ref() {
            PING => return self.answer(None, Reply::Pong, Bytes::from_static(b"{}")),
            _ if id.is_empty() || id.len() > MAX_ID_BYTES => {
                Err(Error::invalid_request(format!("an id has 1 to {MAX_ID_BYTES} bytes")))
            }
            INPUT => self.tell(id, asked()),
            CANCEL => self.running.cancel(id),
            name => self.start(name, id, asked()),
        };
        if let Err(error) = refused {
            self.refuse(None, error.with_details(json!({ "id": id })));
        }
    }

    /// A frame's JSON, and the bytes behind it.
    fn open<'a>(&self, frame: Raw<'a>) -> Result<(&'a str, &'a [u8]), Error> {
        let limit = self.agent.limits.request_bytes;
        if frame.length() > limit {
            let error = Error::new(Code::PayloadTooLarge, format!("a frame has at most {limit} bytes"));
            return Err(error.with_details(json!({ "limit_bytes": limit })));
        }
        if matches!(frame, Raw::Binary(_)) && !self.binary {
            return Err(Error::invalid_request(binary::NOT_ASKED_FOR));
        }
        frame.split()
    }

    /// Answers a frame with an error.
    pub(super) fn refuse(&mut self, id: Option<&str>, error: Error) {
        if let Ok(payload) = encode(&error) {
            self.answer(id, Reply::Error, payload);
        }
    }

    /// Answers without waiting for the client.
    fn answer(&mut self, id: Option<&str>, kind: Reply, payload: Bytes) {
        let (frames, id) = (self.frames.clone(), id.map(str::to_owned));
        self.tasks.spawn(async move { frames.send(kind, id.as_deref(), &payload).await });
    }

    /// An operation that does not take what it is told is cancelled, rather than told the rest without what was refused.
    fn tell(&self, id: &str, input: Asked<'_>) -> Result<(), Error> {
        let tell = self.running.tell(id);
        let tell = tell.ok_or_else(|| Error::not_found("no operation that takes inputs runs under this id"))?;
        tell(input).inspect_err(|error| {
            if error.code == Code::TooManyRequests {
                let _ = self.running.cancel(id);
            }
        })
    }

    /// Starts an operation in a task of its own. Fails where the id cannot be used; all other failures are the operation's answer.
    fn start(&mut self, name: &str, id: &str, asked: Asked<'_>) -> Result<(), Error> {
        if self.running.contains(id) {
            return Err(Error::new(Code::Conflict, "an operation runs under this id"));
        }
        if let Err(error) = self.admit(name, id, asked) {
            self.refuse(Some(id), error);
        }
        Ok(())
    }

    fn admit(&mut self, name: &str, id: &str, asked: Asked<'_>) -> Result<(), Error> {
        let limit = self.agent.limits.operations_per_socket;
        if self.running.len() >= limit {
            return Err(limits::reached(limit, "operations run on this socket already"));
        }
        let wakes = table::find(name).is_some_and(|operation| operation.asleep.is_none());
        let busy = wakes.then(|| self.agent.activity.begin());
        let (agent, id, mut about) = (self.agent.clone(), id.to_owned(), String::new());
        match dispatch::find(name)? {
            Entry::Call(call) => {
                let answer = call(agent, asked, self.binary, &mut about)?;
                self.frames.about(&id, &about);
                let cancel = self.running.call(&id);
                self.tasks.spawn(answer_once(self.ends(id, busy), answer, cancel));
            }
            Entry::Stream { start, .. } => {
                let events = self.frames.events(&id, self.binary)?;
                let Conversation { said, tell, cancel } = start(agent, asked, None, events, &mut about)?;
                self.frames.about(&id, &about);
                self.running.stream(&id, tell, cancel.clone());
                self.tasks.spawn(relay(self.ends(id, busy), said, cancel));
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
    async fn end(self, answer: Result<Answered, Error>) {
        self.running.forget(&self.id);
        match answer {
            Ok(response) => self.frames.result(&self.id, &response).await,
            Err(error) => self.frames.error(Some(&self.id), error).await,
        }
    }
}

async fn answer_once(ends: Ends, answer: Pending<Result<Answered, Error>>, cancel: CancellationToken) {
    let interrupted = || Err(Error::new(Code::Interrupted, "cancelled; it may have been carried out"));
    let answer = cancel.run_until_cancelled(answer).await.unwrap_or_else(interrupted);
    ends.end(answer).await;
}

async fn relay(ends: Ends, mut said: Pin<Box<dyn Stream<Item = Said> + Send>>, cancelled: CancellationToken) {
    while let Some(said) = said.next().await {
        match said {
            Said::Event(frame) => ends.frames.event(text(frame), &cancelled).await,
            Said::Binary(frame) => ends.frames.event(Some(Message::Binary(frame)), &cancelled).await,
            Said::Result(json) => return ends.end(Ok(Answered { json, bytes: None })).await,
            Said::Error(error) => return ends.end(Err(error)).await,
        }
    }
}
