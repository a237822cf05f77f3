//! What an operation is.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Data, ProcessId, file::RelativePaths};

/// Something the system carries out when asked. The request type *is* the operation.
///
/// Over HTTP an operation is `POST …/family/verb` with the request as JSON; on the WebSocket its name is the frame's type.
pub trait Operation: Serialize + DeserializeOwned + Send + 'static {
    /// Wire name, `family.verb`; `exec` alone is bare.
    const NAME: &'static str;

    /// True when repeating the request after a lost reply does no harm.
    const IDEMPOTENT: bool = false;

    /// True where it changes nothing in the sandbox, so that credentials which may only read are good for it.
    const READ_ONLY: bool = false;

    /// What it answers, as JSON, about a sandbox that has no container: operations that only look leave a sleeping sandbox asleep, and
    /// do not keep one awake. `None` for one that needs the sandbox, and wakes it.
    const ASLEEP: Option<&'static str> = None;

    /// What comes back when it has been carried out.
    type Response: Serialize + DeserializeOwned + Send + 'static;

    /// What it was about, for the reader of the audit trail: a command, a path, a process. It may hold secrets; whoever passes it on makes
    /// them unreadable and sees to its length. Default: its name says it all.
    fn summary(&self) -> String {
        String::new()
    }

    /// The values in the request that must not be read in its summary. Default: none.
    fn secrets(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The session that the request's relative paths begin in, and its paths. Default: it names no session.
    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        None
    }

    /// The field of the request that the bytes of a [binary frame](crate::frame::binary) belong into. Default: there is none.
    fn bytes(&mut self) -> Option<&mut Data> {
        None
    }

    /// The field of the response whose bytes travel in a binary frame. Default: there is none.
    fn response_bytes(_: &mut Self::Response) -> Option<&mut Data> {
        None
    }
}

/// An operation that talks while it runs.
pub trait Streaming: Operation {
    /// What it says on the way. Serialised as an object whose `type` is never `result` or `error`.
    type Event: Serialize + DeserializeOwned + Send + 'static;

    /// What it can be told on the way; [`Never`] for one that does not listen.
    type Input: Serialize + DeserializeOwned + Send + 'static;

    /// The whole conversation as one value, for callers that do not stream.
    type Fold: Fold<Self>;

    /// Whether the operation has a raw form, `application/octet-stream`: the [raw bytes](Self::raw) of its events and nothing else.
    const RAW: bool = false;

    /// The bytes of this event in the raw form. Default: there are none.
    fn raw(_: &Self::Event) -> Option<&Bytes> {
        None
    }

    /// Whether something is missing before this event. The raw form cannot say so, and is broken off.
    fn is_gap(_: &Self::Event) -> bool {
        false
    }

    /// The event that says that what was between these positions is missing. Default: nothing says so.
    fn gap(_from: u64, _to: u64) -> Option<Self::Event> {
        None
    }

    /// Resume position after this event; the SSE `id`.
    fn position(_: &Self::Event) -> Option<u64> {
        None
    }

    /// The process that this event names. A client that has lost its connection continues with `process.attach` to it, whose events are the
    /// same. Default: it names none.
    fn process(_: &Self::Event) -> Option<&ProcessId> {
        None
    }

    /// The request that resumes at a position, for a client that has lost its connection. `None` where it would start again.
    fn resume(self, _: u64) -> Option<Self> {
        None
    }

    /// The field of the event whose bytes travel in a binary frame. Default: there is none.
    fn event_bytes(_: &mut Self::Event) -> Option<&mut Data> {
        None
    }

    /// The field of the input that the bytes of a binary frame belong into. Default: there is none.
    fn input_bytes(_: &mut Self::Input) -> Option<&mut Data> {
        None
    }

    /// The request that reads its inputs from the body of its HTTP request, and the input that a piece of it is. `None` where it takes no
    /// such body, which is the default.
    fn fed(self) -> Option<(Self, InputOf<Self>)> {
        None
    }
}

/// The input that a piece of a request's body is.
pub type InputOf<O> = fn(Bytes) -> <O as Streaming>::Input;

/// What an operation can be told that does not listen: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Never {}

/// Gathers the events of an operation into one value of bounded size.
pub trait Fold<O: Streaming>: Send + 'static {
    /// The gathered value.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Starts an empty fold for this request.
    fn new(request: &O) -> Self;

    /// Takes one event.
    fn push(&mut self, event: O::Event);

    /// Bytes that it holds, and at most as many as its output takes in JSON. Default: few.
    fn size(&self) -> usize {
        0
    }

    /// Stops growing: from now on it keeps no more than it has. Default: it does not grow.
    fn freeze(&mut self) {}

    /// Closes with the operation's response.
    fn finish(self, response: O::Response) -> Self::Output;
}

/// Forgets the events: the response says all that matters.
#[derive(Debug)]
pub struct ResponseOnly;

impl<O: Streaming> Fold<O> for ResponseOnly {
    type Output = O::Response;

    fn new(_: &O) -> Self {
        Self
    }

    fn push(&mut self, _: O::Event) {}

    fn finish(self, response: O::Response) -> O::Response {
        response
    }
}
