//! From an operation's name and bytes to its handler and back. HTTP and WebSocket both come through here.

mod conversation;
mod encoder;

pub use conversation::{Conversation, Tell};
pub use encoder::{Encoding, Said};

use std::{collections::HashMap, pin::Pin, sync::LazyLock};

use bytes::Bytes;
use cabana_protocol::{Code, Error, Operation, Streaming, operations};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Agent;

/// Carries out an operation that answers once. Dropping the future abandons it.
pub trait Handle<O: Operation> {
    /// Does what the request asks.
    fn handle(&self, request: O) -> impl Future<Output = Result<O::Response, Error>> + Send;
}

/// Carries out an operation that talks while it runs. Dropping the future ends whatever it started.
pub trait Run<O: Streaming> {
    /// Does what the request asks, over this channel.
    fn run(&self, request: O, channel: Channel<O>) -> impl Future<Output = Result<O::Response, Error>> + Send;
}

/// The ends of a conversation that its handler holds.
#[derive(Debug)]
pub struct Channel<O: Streaming> {
    /// What the operation says; waits while the client is slow to listen.
    pub events: mpsc::Sender<O::Event>,
    /// What the client says; ends when it cannot say more.
    pub inputs: mpsc::Receiver<O::Input>,
    /// Set when the client asks for an end and still wants the result.
    pub cancel: CancellationToken,
}

/// A future of whatever kind, on its way to be awaited.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An operation without its types.
#[derive(Clone, Copy)]
pub enum Entry {
    /// Answers once: request in JSON, response in JSON.
    Call(fn(Agent, Bytes) -> Pending<Result<Bytes, Error>>),
    /// Talks while it runs.
    Stream {
        /// The whole conversation as one response.
        fold: fn(Agent, Bytes) -> Pending<Result<Bytes, Error>>,
        /// The conversation, piece by piece.
        start: fn(Agent, &[u8], Encoding) -> Result<Conversation, Error>,
    },
}

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

fn call<O: Operation>(agent: Agent, body: Bytes) -> Pending<Result<Bytes, Error>>
where
    Agent: Handle<O>,
{
    Box::pin(async move {
        let request: O = decode(&body)?;
        drop(body);
        encode(&agent.handle(request).await?)
    })
}

/// Reads a request.
fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::invalid_request(format!("the request is not what was expected: {error}")))
}

/// Writes an answer.
pub fn encode<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| Error::new(Code::Internal, error.to_string()))
}
