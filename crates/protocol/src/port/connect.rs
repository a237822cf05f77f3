//! `port.connect`: raw bytes to a port or a Unix socket of the sandbox, and back.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Data, Fold, InputOf, Operation, Streaming, exec::Ends, file::FilePath};

/// The largest `window_bytes`: 4 MiB.
pub const MAX_WINDOW_BYTES: u32 = 4 << 20;

/// Bytes of what came that the JSON form keeps: 1 MiB.
const FOLDED_BYTES: usize = 1 << 20;

/// Connects to a TCP port or a Unix socket, and carries raw bytes both ways, of any protocol, until both sides have ended.
///
/// Each side may end first (half-close): `eof` ends one direction, and the other goes on. Dropping the connection or sending `cancel` closes
/// the connection. Over HTTP the body of the request is what is sent, as `application/octet-stream` with the request as the query, and the
/// answer in that form is what came; without such a body nothing is sent. Sockets are opened as the user whom commands run as.
///
/// Fails with `invalid_request` (not one of `port` and `path`, a port of Cabana's own), `not_found` (`unknown_host`; `no_socket`),
/// `conflict` (`connection_refused`: nothing accepts connections there), `forbidden` (the socket's permissions), `unprocessable`
/// (`unreachable`), `timeout` (no answer within 10 s).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Connect {
    /// The TCP port, 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The host that it is on, as the sandbox sees it. Default: the sandbox itself, on any of its loopback addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The absolute path of a Unix socket, which may be outside of the roots. At most 107 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<FilePath>,
    /// Turns on flow control: each side sends at most so many bytes beyond what the other has acknowledged by `ack`. 1 to 4,194,304. Default:
    /// nothing is acknowledged. A client that does not read then delays the other operations of its WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_bytes: Option<u32>,
}

impl Connect {
    /// To a TCP port of the sandbox itself.
    pub fn port(port: u16) -> Self {
        Self { port: Some(port), ..Self::default() }
    }

    /// To a Unix socket.
    pub fn path(path: impl Into<FilePath>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }
}

impl Operation for Connect {
    const NAME: &'static str = "port.connect";
    type Response = ConnectionEnd;

    fn summary(&self) -> String {
        match (&self.path, &self.host, self.port) {
            (Some(path), _, _) => path.to_string(),
            (None, Some(host), Some(port)) => format!("{host}:{port}"),
            (None, _, Some(port)) => port.to_string(),
            (None, _, None) => String::new(),
        }
    }
}

impl Streaming for Connect {
    type Event = ConnectEvent;
    type Input = ConnectInput;
    type Fold = ReceivedFold;
    const RAW: bool = true;

    fn raw(event: &ConnectEvent) -> Option<&Bytes> {
        match event {
            ConnectEvent::Data { bytes, .. } => Some(&bytes.0),
            ConnectEvent::Connected {} | ConnectEvent::Eof {} | ConnectEvent::Ack { .. } => None,
        }
    }

    fn event_bytes(event: &mut ConnectEvent) -> Option<&mut Data> {
        match event {
            ConnectEvent::Data { bytes, .. } => Some(bytes),
            ConnectEvent::Connected {} | ConnectEvent::Eof {} | ConnectEvent::Ack { .. } => None,
        }
    }

    fn input_bytes(input: &mut ConnectInput) -> Option<&mut Data> {
        match input {
            ConnectInput::Data { bytes } => Some(bytes),
            ConnectInput::Eof | ConnectInput::Ack { .. } => None,
        }
    }

    fn fed(self) -> Option<(Self, InputOf<Self>)> {
        // The body waits for its own room, and nobody acknowledges what comes.
        Some((Self { window_bytes: None, ..self }, |bytes| ConnectInput::Data { bytes: Data(bytes) }))
    }
}

/// What a connection says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ConnectEvent {
    /// The other side has accepted the connection. Always the first event.
    Connected {},
    /// Bytes that came.
    Data {
        /// How many came before these.
        offset: u64,
        /// The bytes.
        bytes: Data,
    },
    /// The other side sends nothing more. It may still read.
    Eof {},
    /// So many bytes of all that the client has sent were written to the connection. Only with `window_bytes`.
    Ack {
        /// How many, from the beginning.
        offset: u64,
    },
}

/// What a connection is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ConnectInput {
    /// Bytes to send.
    Data {
        /// The bytes.
        bytes: Data,
    },
    /// The client sends nothing more. It may still read.
    Eof,
    /// The client has taken so many bytes of all that came. Only with `window_bytes`.
    Ack {
        /// How many, from the beginning.
        offset: u64,
    },
}

impl<'de> Deserialize<'de> for ConnectInput {
    // serde's tagged enums ignore a field that they do not know.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Kind {
            Data,
            Eof,
            Ack,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(rename = "type")]
            kind: Kind,
            bytes: Option<Data>,
            offset: Option<u64>,
        }
        let missing = de::Error::missing_field;
        match Fields::deserialize(deserializer)? {
            Fields { kind: Kind::Data, bytes, offset: None } => Ok(Self::Data { bytes: bytes.ok_or_else(|| missing("bytes"))? }),
            Fields { kind: Kind::Ack, bytes: None, offset } => Ok(Self::Ack { offset: offset.ok_or_else(|| missing("offset"))? }),
            Fields { kind: Kind::Eof, bytes: None, offset: None } => Ok(Self::Eof),
            Fields { bytes: Some(_), .. } => Err(de::Error::unknown_field("bytes", &["type"])),
            Fields { .. } => Err(de::Error::unknown_field("offset", &["type"])),
        }
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConnectionEnd {
    /// How.
    pub reason: CloseReason,
    /// Bytes that were written to it.
    pub sent_bytes: u64,
    /// Bytes that came from it.
    pub received_bytes: u64,
}

/// How a connection may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// Both sides have sent all that they had.
    Closed,
    /// The other side broke it off: what was sent last may be lost.
    Reset,
}

/// The JSON form of `port.connect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Received {
    /// How the connection ended.
    #[serde(flatten)]
    pub end: ConnectionEnd,
    /// What came; where `truncated`, the first and last half MiB of it, with a line between them that says how much was left out.
    pub received: Data,
    /// True when more than 1 MiB came.
    pub truncated: bool,
}

/// Gathers what comes.
#[derive(Debug)]
pub struct ReceivedFold(Ends);

impl Fold<Connect> for ReceivedFold {
    type Output = Received;

    fn new(_: &Connect) -> Self {
        Self(Ends::new(FOLDED_BYTES))
    }

    fn push(&mut self, event: ConnectEvent) {
        if let ConnectEvent::Data { bytes, .. } = event {
            self.0.push(&bytes.0);
        }
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn freeze(&mut self) {
        self.0.freeze();
    }

    fn finish(self, end: ConnectionEnd) -> Received {
        let truncated = self.0.truncated();
        Received { end, received: self.0.join(), truncated }
    }
}
