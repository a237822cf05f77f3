//! Frames as they are sent and received.

use bytes::{Bytes, BytesMut};
use cabana_protocol::{
    Code, Data, Operation, Streaming,
    frame::{self, MAX_FRAME_BYTES, Reply, ServerFrame, binary, close},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Message;

use crate::{Error, Result};

/// What has come for an operation.
pub(crate) enum Incoming {
    /// Something that it says on the way.
    Event(Payload),
    /// Its response.
    Result(Payload),
    /// Its failure.
    Error(cabana_protocol::Error),
}

/// A payload in JSON, and the bytes behind it.
pub(crate) struct Payload {
    json: Box<RawValue>,
    bytes: Option<Bytes>,
}

/// A message, understood.
pub(super) enum Read {
    /// A frame for an operation.
    Frame(u64, Incoming),
    /// Nothing for anybody.
    Nothing,
    /// The end of the connection.
    Closed(Error),
}

impl Payload {
    /// The event in it.
    pub(crate) fn event<O: Streaming>(self) -> Result<O::Event> {
        let mut event: O::Event = serde_json::from_str(self.json.get()).map_err(Error::malformed)?;
        fill(O::event_bytes(&mut event), self.bytes);
        Ok(event)
    }

    /// The response in it.
    pub(crate) fn response<O: Operation>(self) -> Result<O::Response> {
        let mut response: O::Response = serde_json::from_str(self.json.get()).map_err(Error::malformed)?;
        fill(O::response_bytes(&mut response), self.bytes);
        Ok(response)
    }

    /// The JSON in it.
    pub(crate) fn json(&self) -> &str {
        self.json.get()
    }
}

fn fill(field: Option<&mut Data>, bytes: Option<Bytes>) {
    if let (Some(field), Some(bytes)) = (field, bytes) {
        field.0 = bytes;
    }
}

/// Reads a message of the service.
pub(super) fn read(message: Message) -> Read {
    let (head, bytes) = match &message {
        Message::Text(text) => (text.as_str(), None),
        Message::Binary(frame) => match binary::Raw::Binary(frame).split() {
            Ok((head, rest)) => (head, Some(frame.slice(frame.len() - rest.len()..))),
            Err(error) => return Read::Closed(Error::malformed(error)),
        },
        Message::Close(frame) => return Read::Closed(closed(frame.as_ref().map(|frame| frame.code.into()))),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Read::Nothing,
    };
    let frame: ServerFrame<'_> = match serde_json::from_str(head) {
        Ok(frame) => frame,
        Err(error) => return Read::Closed(Error::malformed(error)),
    };
    let Some(id) = frame.id.as_ref().and_then(|id| id.parse().ok()) else { return Read::Nothing };
    let payload = || Payload { json: frame.payload.clone().into_owned(), bytes: bytes.clone() };
    match frame.kind {
        Reply::Event => Read::Frame(id, Incoming::Event(payload())),
        Reply::Result => Read::Frame(id, Incoming::Result(payload())),
        Reply::Error => match serde_json::from_str(frame.payload.get()) {
            Ok(error) => Read::Frame(id, Incoming::Error(error)),
            Err(error) => Read::Closed(Error::malformed(error)),
        },
        Reply::Ready | Reply::Pong => Read::Nothing,
    }
}

/// What a close code means for what ran.
fn closed(code: Option<u16>) -> Error {
    let service = |code, message: &str| Error::of_frame(cabana_protocol::Error::new(code, message));
    match code {
        Some(close::UNAUTHORIZED) => service(Code::Unauthorized, "the credentials have ended or were revoked"),
        Some(close::DESTROYED) => service(Code::NotFound, "the sandbox was destroyed").because_destroyed(),
        Some(close::TOO_SLOW) => Error::lost("what the service sent was not read in time"),
        Some(close::RECONNECT) => Error::lost("the service starts again"),
        _ => Error::lost("the service closed it"),
    }
}

impl Error {
    fn because_destroyed(self) -> Self {
        match self {
            Self::Service { error, status, request_id } => {
                Self::Service { error: error.because("destroyed"), status, request_id }
            }
            other => other,
        }
    }
}

/// A frame that is to be sent.
pub(crate) struct Outgoing {
    kind: &'static str,
    payload: Box<RawValue>,
    bytes: Bytes,
}

impl Outgoing {
    /// The request of an operation. Its bytes travel behind the JSON.
    pub(crate) fn request<O: Operation>(mut request: O) -> Result<Self> {
        let bytes = take(request.bytes());
        Self::new(O::NAME, &request, bytes)
    }

    /// An input to an operation that runs.
    pub(crate) fn input<O: Streaming>(mut input: O::Input) -> Result<Self> {
        let bytes = take(O::input_bytes(&mut input));
        Self::new(frame::INPUT, &input, bytes)
    }

    fn new(kind: &'static str, payload: &impl Serialize, bytes: Bytes) -> Result<Self> {
        let payload = serde_json::value::to_raw_value(payload).map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(Self { kind, payload, bytes })
    }

    pub(super) fn into_message(self, id: &str) -> Result<Message> {
        #[derive(Serialize)]
        struct Frame<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            id: &'a str,
            payload: &'a RawValue,
        }
        let Self { kind, payload, bytes } = &self;
        let head = serde_json::to_string(&Frame { kind, id, payload }).map_err(|error| Error::Invalid(error.to_string()))?;
        if head.len() + bytes.len() + binary::LENGTH_BYTES > MAX_FRAME_BYTES {
            return Err(Error::Invalid(format!("a frame has at most {MAX_FRAME_BYTES} bytes: send less at once")));
        }
        if bytes.is_empty() {
            return Ok(Message::text(head));
        }
        let length = binary::length(head.len()).ok_or_else(|| Error::Invalid("the request is too long".to_owned()))?;
        let mut frame = BytesMut::with_capacity(length.len() + head.len() + bytes.len());
        frame.extend_from_slice(&length);
        frame.extend_from_slice(head.as_bytes());
        frame.extend_from_slice(bytes);
        Ok(Message::Binary(frame.freeze()))
    }
}

/// Takes the bytes out of their field, which stays empty.
fn take(field: Option<&mut Data>) -> Bytes {
    field.map(|field| std::mem::take(&mut field.0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Incoming, Outgoing, Read, read};
    use crate::Error;
    use cabana_protocol::{
        Code,
        exec::{Exec, ExecEvent, ExecInput},
        frame::binary,
    };
    use tokio_tungstenite::tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    };

    #[test]
    fn bytes_travel_behind_the_json() {
        let input = ExecInput::Stdin { bytes: vec![0xff, 0].into() };
        let Ok(Message::Binary(frame)) = Outgoing::input::<Exec>(input).unwrap().into_message("7") else { panic!("not binary") };
        let (head, bytes) = binary::Raw::Binary(&frame).split().unwrap();
        assert_eq!(head, r#"{"type":"input","id":"7","payload":{"type":"stdin","bytes":""}}"#);
        assert_eq!(bytes, [0xff, 0]);
        let Ok(Message::Text(frame)) = Outgoing::request(Exec::new("true")).unwrap().into_message("8") else {
            panic!("not text")
        };
        assert_eq!(frame.as_str(), r#"{"type":"exec","id":"8","payload":{"command":"true"}}"#);
    }

    #[test]
    fn an_event_gets_its_bytes_back() {
        let head = r#"{"type":"event","id":"3","payload":{"type":"stdout","offset":5,"bytes":""}}"#;
        let frame = [binary::length(head.len()).unwrap().as_slice(), head.as_bytes(), &[0xfe, 1]].concat();
        let Read::Frame(3, Incoming::Event(payload)) = read(Message::binary(frame)) else { panic!("no event") };
        let event = payload.event::<Exec>().unwrap();
        assert_eq!(event, ExecEvent::Stdout { offset: 5, bytes: vec![0xfe, 1].into() });
    }

    #[test]
    fn frames_for_nobody_are_passed_over() {
        for text in [r#"{"type":"pong","payload":{}}"#, r#"{"type":"ready","payload":{"version":"1","operations":[]}}"#] {
            assert!(matches!(read(Message::text(text)), Read::Nothing), "{text}");
        }
        assert!(matches!(read(Message::text("no frame")), Read::Closed(Error::Malformed { .. })));
    }

    #[test]
    fn close_codes_are_errors_of_their_own() {
        for (code, expected) in [(4401, Some(Code::Unauthorized)), (4404, Some(Code::NotFound)), (1012, None), (1000, None)] {
            let close = Message::Close(Some(CloseFrame { code: CloseCode::from(code), reason: "".into() }));
            let Read::Closed(error) = read(close) else { panic!("{code} does not close") };
            assert_eq!((error.code(), error.is_ambiguous()), (expected, expected.is_none()), "{code}");
        }
    }

    #[test]
    fn too_much_at_once_is_refused_before_it_is_sent() {
        let input = ExecInput::Stdin { bytes: vec![0; 17 << 20].into() };
        assert!(matches!(Outgoing::input::<Exec>(input).unwrap().into_message("1"), Err(Error::Invalid(_))));
    }
}
