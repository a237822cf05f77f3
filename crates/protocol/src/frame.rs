//! What travels on the WebSocket: text messages of `{"type", "id", "payload"}`.
//!
//! A client starts an operation by its name under an id of its own choosing, and the answers carry that id. Many ids run at
//! once. An id may be used again when its result or error has come. Bytes travel without base64 in [`binary`] frames.

pub mod binary;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{Error, decode::unknown_field, table::DESCRIPTORS};

/// The `type` by which a client speaks to an operation that runs.
pub const INPUT: &str = "input";

/// The `type` by which a client ends an operation that runs. An `exec` then ends with a result whose exit is `cancelled`, once
/// the whole process tree is gone; any other operation with the error `interrupted`.
pub const CANCEL: &str = "cancel";

/// The `type` by which a client asks whether the connection is alive. It needs no id, and is answered by [`PONG`].
pub const PING: &str = "ping";

/// The ping to which a sandbox's Durable Object answers without coming into memory: exactly this text. A ping that is written in
/// another way is answered as well, and costs what any frame costs.
pub const PING_FRAME: &str = r#"{"type":"ping"}"#;

/// The answer to a ping. It comes unasked, too, where something runs on a socket and has been silent for some seconds.
pub const PONG: &str = r#"{"type":"pong","payload":{}}"#;

/// Longest request id, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// Largest frame from a client, in bytes. A larger one is answered by `payload_too_large`; one far larger ends the socket.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// Why the service closes a socket, beside what RFC 6455 has codes for.
pub mod close {
    /// The sandbox's object starts again, by its own wish. Commands that ran go on for a while: connect again, and `process.attach` to them
    /// from the offset of the first byte that is missing. The same holds for a socket that closes without any of these codes.
    pub const RECONNECT: u16 = 1012;

    /// The credentials that the socket was opened with have ended or were revoked.
    pub const UNAUTHORIZED: u16 = 4401;

    /// The sandbox was destroyed.
    pub const DESTROYED: u16 = 4404;

    /// The client did not take what it was sent. What a detached process prints is kept: `process.attach` goes on from any offset.
    pub const TOO_SLOW: u16 = 4408;
}

/// A frame from the client. The payload stays as it came: only the operation's handler decodes it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFrame<'a> {
    /// An operation's name, [`INPUT`], [`CANCEL`] or [`PING`].
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// The client's name for the request; only a ping needs none.
    #[serde(borrow, default)]
    pub id: Cow<'a, str>,
    /// The request or input; may be absent for [`CANCEL`].
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
}

impl<'a> ClientFrame<'a> {
    /// Reads a frame. Fails with `invalid_request`.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|_| {
            const FIELDS: &[&str] = &["type", "id", "payload"];
            let fields: BTreeMap<String, IgnoredAny> = serde_json::from_str(text).unwrap_or_default();
            match fields.into_keys().find(|field| !FIELDS.contains(&field.as_str())) {
                Some(field) => unknown_field(&field, FIELDS),
                None => Error::invalid_request("not a frame; a frame is {\"type\": \"…\", \"id\": \"…\", \"payload\": {…}}"),
            }
        })
    }
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
    /// Answers a ping; it has no id, and its payload says nothing.
    Pong,
}

/// A frame from the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerFrame<'a> {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Reply,
    /// The client's name for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// The event, response or error.
    pub payload: Cow<'a, RawValue>,
}

/// The payload of [`Reply::Ready`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ready {
    /// The version of whoever answers: the gateway's, and the agent's where that is asked directly.
    pub version: String,
    /// The names of the operations that there are.
    pub operations: Vec<String>,
}

impl Ready {
    /// What a service of this version says. Needs no sandbox.
    pub fn of(version: &str) -> Self {
        let operations = DESCRIPTORS.iter().map(|descriptor| descriptor.name.to_owned()).collect();
        Self { version: version.to_owned(), operations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_a_frame_and_so_is_its_answer() {
        let ping: ClientFrame<'_> = serde_json::from_str(PING_FRAME).unwrap();
        assert_eq!((ping.kind.as_ref(), ping.id.as_ref()), (PING, ""));
        let pong: ServerFrame<'_> = serde_json::from_str(PONG).unwrap();
        assert_eq!((pong.kind, pong.id), (Reply::Pong, None));
        assert_eq!(serde_json::to_string(&serde_json::from_str::<ServerFrame<'_>>(PONG).unwrap()).unwrap(), PONG);
    }

    #[test]
    fn reading_a_frame_copies_nothing() {
        let frame: ClientFrame<'_> = serde_json::from_str(r#"{"payload":{"a":1},"id":"1","type":"exec"}"#).unwrap();
        assert!(matches!((&frame.kind, &frame.id), (Cow::Borrowed("exec"), Cow::Borrowed("1"))));
        assert_eq!(frame.payload.map(RawValue::get), Some(r#"{"a":1}"#));
    }
}
