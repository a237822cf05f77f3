//! What travels on the WebSocket: text messages of `{"type", "id", "payload"}`.
//!
//! A client starts an operation by its name under an id of its own choosing, and the answers carry that id. Many ids run at
//! once. An id may be used again when its result or error has come.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The `type` by which a client speaks to an operation that runs.
pub const INPUT: &str = "input";

/// The `type` by which a client ends an operation that runs. An `exec` then ends with a result whose exit is `cancelled`, once
/// the whole process tree is gone; any other operation with the error `interrupted`.
pub const CANCEL: &str = "cancel";

/// Longest request id, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// A frame from the client. The payload stays as it came: only the operation's handler decodes it.
#[derive(Debug, Deserialize, Serialize)]
pub struct ClientFrame<'a> {
    /// An operation's name, [`INPUT`] or [`CANCEL`].
    #[serde(rename = "type")]
    pub kind: std::borrow::Cow<'a, str>,
    /// The client's name for the request.
    pub id: std::borrow::Cow<'a, str>,
    /// The request or input; may be absent for [`CANCEL`].
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
}

/// The `type` of a frame from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Sent once, when the connection is made; it has no id.
    Ready,
    /// Something an operation said on the way.
    Event,
    /// The operation's response; it ends the id.
    Result,
    /// The operation's failure; it ends the id. Without an id: a frame that could not be understood.
    Error,
}

/// A frame from the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerFrame<'a> {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Reply,
    /// The client's name for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<std::borrow::Cow<'a, str>>,
    /// The event, response or error.
    pub payload: std::borrow::Cow<'a, RawValue>,
}

/// The payload of [`Reply::Ready`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ready {
    /// The agent's version.
    pub version: String,
    /// The names of the operations it carries out.
    pub operations: Vec<String>,
}
