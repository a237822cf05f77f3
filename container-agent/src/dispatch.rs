//! From an operation's name and bytes to its handler and back. HTTP and WebSocket both come through here.

mod conversation;
mod encoder;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

pub use conversation::{Conversation, Tell};
pub use encoder::{Encoding, Said};

use std::{collections::HashMap, mem, pin::Pin, sync::LazyLock};

use bytes::Bytes;
use cabana_protocol::{Code, Data, Error, Operation, Streaming, decode, operations};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{Agent, summary};

/// Carries out an operation that answers once. Dropping the future abandons it.
pub trait Handle<O: Operation> {
    /// Does what the request asks.
    fn handle(&self, request: O) -> impl Future<Output = Result<O::Response, Error>> + Send;
}

/// Carries out an operation that talks while it runs. Dropping the future ends whatever it started.
pub trait Run<O: Streaming> {
    /// Does what the request asks, over this channel. What is done before the future is polled is done in the order in which the
    /// requests of one connection came.
    fn run(self, request: O, channel: Channel<O>) -> impl Future<Output = Result<O::Response, Error>> + Send;
}

/// The ends of a conversation that its handler holds.
#[derive(Debug)]
pub struct Channel<O: Streaming> {
    /// What the operation says; waits while the client is slow to listen.
    pub events: mpsc::Sender<O::Event>,
    /// What the client says; ends when it cannot say more. Bounded by the room that each input takes.
    pub inputs: mpsc::UnboundedReceiver<Told<O::Input>>,
    /// Set when the client asks for an end and still wants the result.
    pub cancel: CancellationToken,
}

/// Something that the client said.
#[derive(Debug)]
pub struct Told<I> {
    /// What it said.
    pub input: I,
    /// The room that it takes until this is dropped, of that which the client has.
    pub room: OwnedSemaphorePermit,
}

/// A future of whatever kind, on its way to be awaited.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An operation without its types.
#[derive(Clone, Copy)]
pub enum Entry {
    /// Answers once.
    Call(Call),
    /// Talks while it runs.
    Stream {
        /// The whole conversation as one response.
        fold: Fold,
        /// The conversation, piece by piece.
        start: Start,
    },
}

/// What a client asks for, or tells an operation that runs: JSON, and the bytes that came behind it in a binary frame, if any.
#[derive(Debug)]
pub struct Asked<'a> {
    /// A request or an input.
    pub json: &'a [u8],
    /// Belongs into its field of bytes.
    pub bytes: Bytes,
}

/// What is answered: JSON, and the bytes to go behind it in a binary frame, if the response has any and they were to be beside it.
#[derive(Debug)]
pub struct Answered {
    /// The response.
    pub json: Bytes,
    /// Belongs into its field of bytes.
    pub bytes: Option<Bytes>,
}

/// Takes a request, and gives the work of answering it, with the response's bytes beside it if that is wanted. What the request is about is
/// noted in the string as soon as it is known.
pub type Call = fn(Agent, Asked<'_>, bool, &mut String) -> Result<Pending<Result<Answered, Error>>, Error>;

/// Takes a request, and gives the work of answering it when it is over.
pub type Fold = fn(Agent, Bytes, &mut String) -> Result<Pending<Result<Bytes, Error>>, Error>;

/// Starts a conversation, or goes on from a position of one before it. Notes what it is about, too.
pub type Start = fn(Agent, Asked<'_>, Option<u64>, Encoding, &mut String) -> Result<Conversation, Error>;

type Table = HashMap<&'static str, Entry>;

macro_rules! table {
    (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
        Table::from([
            $((<$call as Operation>::NAME, Entry::Call(call::<$call>)),)*
            $((<$stream as Operation>::NAME, Entry::Stream { fold: conversation::fold::<$stream>, start: conversation::start::<$stream> }),)*
        ])
    };
}

static TABLE: LazyLock<Table> = LazyLock::new(|| operations!(table));

/// The operation of this name.
///
/// Fails with `not_found`.
pub fn find(name: &str) -> Result<Entry, Error> {
    TABLE.get(name).copied().ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        Error::not_found(format!("there is no operation {shown:?}"))
    })
}

fn call<O: Operation>(
    agent: Agent,
    asked: Asked<'_>,
    beside: bool,
    about: &mut String,
) -> Result<Pending<Result<Answered, Error>>, Error>
where
    Agent: Handle<O>,
{
    let request: O = read(&agent, asked, about)?;
    Ok(Box::pin(async move {
        let mut response = agent.handle(request).await?;
        let bytes = O::response_bytes(&mut response).filter(|_| beside).map(|Data(bytes)| mem::take(bytes));
        Ok(Answered { json: encode(&response)?, bytes })
    }))
}

/// Reads the request of an operation, and notes what it is about.
fn read<O: Operation>(agent: &Agent, asked: Asked<'_>, about: &mut String) -> Result<O, Error> {
    let mut request: O = decode(asked.json)?;
    fill(request.bytes(), asked.bytes)?;
    *about = summary::of(&request, &agent.masked);
    Ok(request)
}

/// Puts the bytes that came behind JSON where they belong.
fn fill(field: Option<&mut Data>, bytes: Bytes) -> Result<(), Error> {
    match field {
        _ if bytes.is_empty() => Ok(()),
        Some(Data(empty)) if empty.is_empty() => {
            *empty = bytes;
            Ok(())
        }
        _ => Err(Error::invalid_request("bytes follow, and the payload has no field of bytes that is empty")),
    }
}

impl<'a> From<&'a [u8]> for Asked<'a> {
    fn from(json: &'a [u8]) -> Self {
        Self { json, bytes: Bytes::new() }
    }
}

/// Writes an answer.
pub fn encode<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| Error::new(Code::Internal, error.to_string()))
}
