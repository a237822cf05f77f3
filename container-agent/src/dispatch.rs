//! Decodes a request, calls the handler of its operation, and encodes what comes back. Used by HTTP and WebSocket alike.

mod conversation;
mod encoder;
mod feed;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

pub use conversation::{Conversation, GapEncoder, InputSender};
pub use encoder::{Encoding, RawOutput};
pub use feed::InputBody;

use std::{
    collections::HashMap,
    io::{self, Write},
    mem,
    pin::Pin,
    sync::LazyLock,
};

use bytes::Bytes;
use cabana_protocol::{Data, Error, Operation, Streaming, decode, decode_query, names::unknown_operation, operations};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{Agent, caller::Caller, memory::Held, redact};

/// Carries out an operation that answers once. Dropping the future abandons it.
pub trait Handle<O: Operation> {
    /// Does what the request asks.
    fn handle(&self, request: O) -> impl Future<Output = Result<O::Response, Error>> + Send;
}

/// Carries out a streaming operation. Dropping the future ends whatever it started.
pub trait Run<O: Streaming> {
    /// Does what the request asks, over this channel. What is done before the future is polled is done in the order in which the
    /// requests of one connection came.
    fn run(self, request: O, channel: Channel<O>) -> impl Future<Output = Result<O::Response, Error>> + Send;
}

/// The handler's ends of a conversation.
#[derive(Debug)]
pub struct Channel<O: Streaming> {
    /// Events for the client. Waits while the client is slow to read.
    pub events: mpsc::Sender<O::Event>,
    /// Inputs from the client; ends when there can be no more. Bounded by the room that each input takes.
    pub inputs: mpsc::UnboundedReceiver<ReceivedInput<O::Input>>,
    /// Whether the client can send any while the operation runs: over HTTP it cannot.
    pub takes_inputs: bool,
    /// Set when the client asks for an end and still wants the result.
    pub cancel: CancellationToken,
    /// Who the client is.
    pub caller: Caller,
}

/// An input from the client.
#[derive(Debug)]
pub struct ReceivedInput<I> {
    /// The input.
    pub input: I,
    /// The room that it takes until this is dropped.
    pub room: OwnedSemaphorePermit,
}

/// A boxed future.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An operation without its types.
#[derive(Clone, Copy)]
pub enum Entry {
    /// Answers once.
    Call(Call),
    /// Streams while it runs.
    Stream {
        /// The whole conversation as one response.
        fold: Call,
        /// The conversation, piece by piece.
        start: Start,
        /// Whether it has a raw form.
        raw: bool,
    },
}

/// A request or an input: JSON, and the bytes that came behind it in a binary frame, if any.
#[derive(Debug)]
pub struct RawRequest<'a> {
    /// The request or input.
    pub json: &'a [u8],
    /// The query that a request comes as in place of JSON.
    pub query: Option<&'a str>,
    /// Raw payload of a binary frame; fills the request's bytes field.
    pub bytes: Bytes,
    /// The inputs, where they come as the body of the request.
    pub body: Option<InputBody>,
    /// Whether inputs may follow.
    pub takes_inputs: bool,
    /// Who asks.
    pub caller: Caller,
}

/// A response: a line of JSON, and the bytes to go behind it in a binary frame, if the response has any and they were wanted apart.
#[derive(Debug)]
pub struct RawResponse {
    /// The response, and a line break.
    pub line: Bytes,
    /// Raw payload of a binary frame; belongs into the response's bytes field.
    pub bytes: Option<Bytes>,
    /// Accounts for its memory.
    pub held: Held,
}

/// Decodes a request, writes its summary into the string, and returns the work of answering it. The flag asks for the response's bytes apart.
pub type Call = fn(Agent, RawRequest<'_>, bool, &mut String) -> Result<Pending<Result<RawResponse, Error>>, Error>;

/// Decodes a request, writes its summary into the string, and starts the conversation, or resumes one at a position.
pub type Start = fn(Agent, RawRequest<'_>, Option<u64>, Encoding, &mut String) -> Result<Conversation, Error>;

/// The smallest buffer for a response.
const LEAST_CAPACITY: usize = 256;

type Table = HashMap<&'static str, Entry>;

macro_rules! table {
    (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
        Table::from([
            $((<$call as Operation>::NAME, Entry::Call(call::<$call>)),)*
            $((<$stream as Operation>::NAME, Entry::Stream {
                fold: conversation::fold::<$stream>,
                start: conversation::start::<$stream>,
                raw: <$stream as Streaming>::RAW,
            }),)*
        ])
    };
}

static TABLE: LazyLock<Table> = LazyLock::new(|| operations!(table));

/// The operation of this name.
///
/// Fails with `not_found`.
pub fn find(name: &str) -> Result<Entry, Error> {
    TABLE.get(name).copied().ok_or_else(|| unknown_operation(name))
}

fn call<O: Operation>(
    agent: Agent,
    asked: RawRequest<'_>,
    apart: bool,
    about: &mut String,
) -> Result<Pending<Result<RawResponse, Error>>, Error>
where
    Agent: Handle<O>,
{
    if asked.body.is_some() {
        return Err(feed::refused(O::NAME));
    }
    let request: O = read(&agent, asked, about)?;
    Ok(Box::pin(async move {
        let request = agent.locate(request).await?;
        let mut response = agent.handle(request).await?;
        let bytes = O::response_bytes(&mut response).filter(|_| apart).map(|Data(bytes)| mem::take(bytes));
        let (line, held) = encode_held(&response, agent.memory.account())?;
        Ok(RawResponse { line, bytes, held })
    }))
}

/// Decodes the request of an operation, and writes its summary into the string.
fn read<O: Operation>(agent: &Agent, asked: RawRequest<'_>, about: &mut String) -> Result<O, Error> {
    let mut request: O = match asked.query {
        Some(query) => decode_query(query_fields(query))?,
        None => decode(asked.json)?,
    };
    fill(request.bytes(), asked.bytes)?;
    *about = redact::summary(&request, &agent.processes.variables().masked());
    Ok(request)
}

/// The pairs of a query, decoded: a value need not be UTF-8.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let decode = |text: &str| percent_encoding::percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>();
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn query_fields(query: &str) -> impl Iterator<Item = (String, Data)> {
    query_pairs(query).map(|(name, value)| (String::from_utf8_lossy(&name).into_owned(), Data::from(value)))
}

/// Fills the field of bytes with the raw payload of a binary frame.
fn fill(field: Option<&mut Data>, bytes: Bytes) -> Result<(), Error> {
    match field {
        _ if bytes.is_empty() => Ok(()),
        Some(Data(empty)) if empty.is_empty() => {
            *empty = bytes;
            Ok(())
        }
        _ => Err(Error::invalid_request("the binary frame has bytes, but its payload has no empty field for them")),
    }
}

impl<'a> From<&'a [u8]> for RawRequest<'a> {
    fn from(json: &'a [u8]) -> Self {
        Self { json, query: None, bytes: Bytes::new(), body: None, takes_inputs: false, caller: Caller::default() }
    }
}

/// Encodes a small value.
pub fn encode<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| Error::internal(error.to_string()))
}

/// Encodes a small value as a line.
pub fn encode_line<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    let mut line = serde_json::to_vec(value).map_err(|error| Error::internal(error.to_string()))?;
    line.push(b'\n');
    Ok(line.into())
}

/// Encodes a value that may be large as a line: its JSON takes no more memory than there is.
///
/// Fails as [`Memory::hold`](crate::memory::Memory::hold) does.
fn encode_held<T: Serialize>(value: &T, held: Held) -> Result<(Bytes, Held), Error> {
    // What is held already has room for it. Memory that is not written to is not taken.
    let mut buffer = Accounted { bytes: Vec::with_capacity(held.bytes()), held, refused: None };
    match serde_json::to_writer(&mut buffer, value).map_err(io::Error::from).and_then(|()| buffer.write_all(b"\n")) {
        Ok(()) => {
            let Accounted { bytes, mut held, .. } = buffer;
            held.resize(bytes.len())?;
            Ok((bytes.into(), held))
        }
        Err(error) => Err(buffer.refused.unwrap_or_else(|| Error::internal(error.to_string()))),
    }
}

/// A buffer that accounts for its memory as it grows.
struct Accounted {
    bytes: Vec<u8>,
    held: Held,
    refused: Option<Error>,
}

impl io::Write for Accounted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.bytes.capacity() {
            let capacity = needed.max(2 * self.bytes.capacity()).max(LEAST_CAPACITY);
            self.held.grow(capacity).map_err(|error| {
                self.refused = Some(error);
                io::ErrorKind::OutOfMemory
            })?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
