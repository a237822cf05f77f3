//! One client's socket: its frames in, and the operations that run on it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

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
use futures_util::StreamExt;
use serde_json::{json, value::RawValue};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::frames::{Frames, text};
use crate::{
    Agent, Busy,
    caller::Caller,
    dispatch::{self, Conversation, Entry, InputSender, Pending, RawOutput, RawRequest, RawResponse, encode},
    limits,
};

/// Answers that may wait for a client to read them, besides those of running operations. Beyond that, a client's frames are not read.
const REFUSALS: usize = 64;

/// One client's socket, its own or behind the link. Dropping it ends the operations that run on it, but for commands of a client behind the
/// link that has not hung up.
pub(super) struct Connection {
    pub(super) agent: Agent,
    frames: Frames,
    /// Whether the client takes binary frames, and may send them.
    binary: bool,
    /// Set when the client has hung up, where it is behind the object.
    hung_up: Option<CancellationToken>,
    running: Running,
    /// Operations, and answers that wait to be sent.
    pub(super) tasks: JoinSet<()>,
}

impl Connection {
    pub(super) fn new(agent: Agent, frames: Frames, binary: bool, hung_up: Option<CancellationToken>) -> Self {
        Self { agent, frames, binary, hung_up, running: Running::default(), tasks: JoinSet::new() }
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

    /// Handles a frame. One that belongs to no operation is answered by an error without an id.
    pub(super) fn receive(&mut self, frame: Raw<'_>) {
        let (head, bytes) = match self.open(frame) {
            Ok(opened) => opened,
            Err(error) => return self.refuse(None, error),
        };
        let frame = match ClientFrame::parse(head) {
            Ok(frame) => frame,
            Err(error) => return self.refuse(None, error),
        };
        let id = frame.id.as_ref();
        let request = || RawRequest {
            bytes: Bytes::copy_from_slice(bytes),
            takes_inputs: true,
            caller: self.hung_up.clone().map_or_else(Caller::default, Caller::behind_object),
            ..RawRequest::from(frame.payload.map_or("{}", RawValue::get).as_bytes())
        };
        let refused = match frame.kind.as_ref() {
            PING => return self.answer(None, Reply::Pong, Bytes::from_static(b"{}")),
            _ if id.is_empty() || id.len() > MAX_ID_BYTES => {
                Err(Error::invalid_request(format!("an id has 1 to {MAX_ID_BYTES} bytes")))
            }
            INPUT => self.send_input(id, request()),
            CANCEL => self.running.cancel(id),
            name => self.start(name, id, request()),
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

    /// An operation that does not take its inputs is cancelled: it must not get the later ones without the one that was refused.
    fn send_input(&self, id: &str, input: RawRequest<'_>) -> Result<(), Error> {
        let send = self.running.input(id);
        let send =
            send.ok_or_else(|| Error::not_found("no operation that takes inputs runs under this id").because("no_such_id"))?;
        send(input).inspect_err(|error| {
            if error.code == Code::TooManyRequests {
                let _ = self.running.cancel(id);
            }
        })
    }

    /// Starts an operation in a task of its own. Fails where the id cannot be used; all other failures are the operation's answer.
    fn start(&mut self, name: &str, id: &str, asked: RawRequest<'_>) -> Result<(), Error> {
        if self.running.contains(id) {
            return Err(Error::new(Code::Conflict, "an operation is still running under this id").because("id_in_use"));
        }
        if let Err(error) = self.admit(name, id, asked) {
            self.refuse(Some(id), error);
        }
        Ok(())
    }

    fn admit(&mut self, name: &str, id: &str, asked: RawRequest<'_>) -> Result<(), Error> {
        let limit = self.agent.limits.operations_per_socket;
        if self.running.len() >= limit {
            return Err(limits::reached(limit, "operations are already running on this WebSocket"));
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
                let conversation = start(agent, asked, None, events, &mut about)?;
                self.frames.about(&id, &about);
                self.running.stream(&id, Arc::clone(&conversation.input), conversation.cancel.clone());
                self.tasks.spawn(relay(self.ends(id, busy), conversation));
            }
        }
        Ok(())
    }

    fn ends(&self, id: String, busy: Option<Busy>) -> Ends {
        Ends { id, running: self.running.clone(), frames: self.frames.clone(), agent: self.agent.clone(), _busy: busy }
    }
}

/// What a running operation needs to answer under its id.
struct Ends {
    id: String,
    running: Running,
    frames: Frames,
    agent: Agent,
    /// It keeps the sandbox awake until its last frame is on its way.
    _busy: Option<Busy>,
}

impl Ends {
    /// The last frame. The id is free before it is sent, so that the client may use it again at once.
    async fn end(self, answer: Result<RawResponse, Error>) {
        self.running.forget(&self.id);
        match answer {
            Ok(response) => self.frames.result(&self.id, &response).await,
            Err(error) => self.frames.error(Some(&self.id), error).await,
        }
    }
}

async fn answer_once(ends: Ends, answer: Pending<Result<RawResponse, Error>>, cancel: CancellationToken) {
    let interrupted = || Err(Error::new(Code::Interrupted, "the operation was cancelled; it may have been carried out"));
    let answer = cancel.run_until_cancelled(answer).await.unwrap_or_else(interrupted);
    ends.end(answer).await;
}

/// Sends the output as the client reads it. Once the operation is cancelled, it must come to its end: output for which there is no room
/// is left out, and an event says so.
async fn relay(ends: Ends, conversation: Conversation) {
    let Conversation { mut output, cancel, mut gap, .. } = conversation;
    let (mut sent, mut left_out) = (0, None);
    while let Some(piece) = output.next().await {
        let (frame, position) = match piece {
            RawOutput::Event(frame, position) => (text(frame), position),
            RawOutput::Binary(frame, position) => (Some(Message::Binary(frame)), position),
            // Of the raw form alone, which no socket has.
            RawOutput::Silent(_) => continue,
            RawOutput::Result(line) => {
                if let Some(RawOutput::Event(frame, _)) = left_out.and_then(|end| gap(sent, end)) {
                    ends.frames.put(text(frame)).await;
                }
                let held = ends.agent.memory.account();
                return ends.end(Ok(RawResponse { line, bytes: None, held })).await;
            }
            RawOutput::Error(error) => return ends.end(Err(error)).await,
        };
        if left_out.is_none() && ends.frames.event(frame, &cancel).await {
            sent = position.unwrap_or(sent);
        } else {
            left_out = position.or(left_out);
        }
    }
}

/// The operations that run on one socket, by the client's ids. The socket's reader and its operations share it; it is locked for a
/// look-up at a time, never across an await.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<HashMap<String, Operation>>>);

/// The handles on a running operation.
struct Operation {
    /// `None` for one that takes no inputs.
    input: Option<InputSender>,
    cancel: CancellationToken,
}

impl Running {
    /// Notes an operation that answers once; the token is set when the client cancels it.
    fn call(&self, id: &str) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.insert(id, Operation { input: None, cancel: cancel.clone() });
        cancel
    }

    /// Notes an operation that talks.
    fn stream(&self, id: &str, input: InputSender, cancel: CancellationToken) {
        self.insert(id, Operation { input: Some(input), cancel });
    }

    fn insert(&self, id: &str, operation: Operation) {
        self.with(|operations| operations.insert(id.to_owned(), operation));
    }

    /// The operation has ended.
    fn forget(&self, id: &str) {
        self.with(|operations| operations.remove(id));
    }

    fn contains(&self, id: &str) -> bool {
        self.with(|operations| operations.contains_key(id))
    }

    fn len(&self) -> usize {
        self.with(|operations| operations.len())
    }

    /// Sends an operation inputs.
    fn input(&self, id: &str) -> Option<InputSender> {
        self.with(|operations| operations.get(id)?.input.clone())
    }

    /// Asks an operation to end.
    ///
    /// Fails with `not_found`, also for one that has just ended: its answer is on the way.
    fn cancel(&self, id: &str) -> Result<(), Error> {
        let cancel = self.with(|operations| operations.get(id).map(|operation| operation.cancel.clone()));
        cancel
            .map(|cancel| cancel.cancel())
            .ok_or_else(|| Error::not_found("no operation runs under this id").because("no_such_id"))
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<String, Operation>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
