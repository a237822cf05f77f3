//! The output of a conversation, encoded.

use std::mem;

use bytes::{BufMut, Bytes};
use cabana_protocol::{
    Code, Data, Error, Streaming,
    frame::binary::{self, LENGTH_BYTES},
    line::LineOf,
};

use super::encode;
use crate::buffers::Buffers;

/// The smallest buffer for an event.
const ROOM_BYTES: usize = 512;

/// The encoder wants room for the worst before it begins: `\u0000` for each byte of a text. Room that is not used is never touched
/// and so takes no memory.
const LONGEST_ESCAPE: usize = 6;

/// One piece of a conversation's output, encoded.
#[derive(Debug)]
pub enum RawOutput {
    /// An event, and the resume position after it.
    Event(Bytes, Option<u64>),
    /// An event whose bytes stand behind it, a binary frame, and the resume position after it.
    Binary(Bytes, Option<u64>),
    /// An event in JSON that has no bytes for the raw form.
    Silent(Bytes),
    /// The response; nothing comes after it.
    Result(Bytes),
    /// The failure; nothing comes after it.
    Error(Error),
}

/// What events and responses are encoded for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// The lines of NDJSON: the response carries the tag that sets it apart from events.
    Lines,
    /// Server-sent events, <https://html.spec.whatwg.org/multipage/server-sent-events.html>: the data of each is NDJSON's line, and
    /// its id the position from which to go on. JSON holds no raw line break, so one `data` field carries it.
    Sse,
    /// The raw bytes of events.
    Raw,
    /// The frames of a socket: the response is a payload only, and its frame says what it carries.
    Frames {
        /// What comes before the payload of an event.
        before: String,
        /// What comes after it.
        after: &'static str,
        /// Where in `before` the frame begins, for a client that takes binary frames.
        binary: Option<usize>,
    },
}

impl Encoding {
    /// What stands before and after the JSON.
    pub fn around(&self) -> (&str, &'static str) {
        match self {
            Self::Lines => ("", "\n"),
            Self::Raw => ("", ""),
            Self::Sse => ("data: ", "\n\n"),
            Self::Frames { before, after, .. } => (before, after),
        }
    }
}

/// Encodes one conversation. Its events are much alike, so what one took tells the room for the next.
#[derive(Debug)]
pub(super) struct Encoder {
    encoding: Encoding,
    buffers: Buffers,
    room: usize,
}

impl Encoder {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self { encoding, buffers: Buffers::default(), room: ROOM_BYTES }
    }

    pub(super) fn encode<O: Streaming>(&mut self, line: LineOf<O>) -> RawOutput {
        let encoded = match (line, &self.encoding) {
            (LineOf::<O>::Error(error), _) => Err(error),
            (LineOf::<O>::Event(event), Encoding::Raw) => raw::<O>(&event),
            (LineOf::<O>::Event(event), _) => self.event::<O>(event),
            (LineOf::<O>::Result(response), Encoding::Frames { .. } | Encoding::Raw) => encode(&response).map(RawOutput::Result),
            (result, encoding) => {
                let (before, after) = encoding.around();
                let line = result.encode().map_err(|error| Error::internal(error.to_string()));
                line.map(|line| RawOutput::Result([before.as_bytes(), &line, after.as_bytes()].concat().into()))
            }
        };
        encoded.unwrap_or_else(RawOutput::Error)
    }

    fn event<O: Streaming>(&mut self, mut event: O::Event) -> Result<RawOutput, Error> {
        let bytes = match self.encoding {
            Encoding::Frames { binary: Some(_), .. } => O::event_bytes(&mut event).map(|Data(bytes)| mem::take(bytes)),
            _ => None,
        };
        let position = O::position(&event).map(|end| end + bytes.as_ref().map_or(0, |bytes| bytes.len() as u64));
        let (before, after) = self.encoding.around();
        let mut buffer = self.buffers.take(self.room);
        if let (Encoding::Sse, Some(position)) = (&self.encoding, position) {
            buffer.extend_from_slice(format!("id: {position}\n").as_bytes());
        }
        let (prefix, before) = before.split_at(self.head_at());
        buffer.extend_from_slice(prefix.as_bytes());
        if bytes.is_some() {
            buffer.put_bytes(0, LENGTH_BYTES);
        }
        let head = buffer.len();
        buffer.extend_from_slice(before.as_bytes());
        let mut writer = buffer.writer();
        sonic_rs::to_writer(&mut writer, &event).map_err(|error| Error::internal(error.to_string()))?;
        let mut buffer = writer.into_inner();
        buffer.extend_from_slice(after.as_bytes());
        self.room = ROOM_BYTES + LONGEST_ESCAPE * buffer.len();
        let output = match bytes {
            None => RawOutput::Event(buffer.split().freeze(), position),
            Some(bytes) => {
                let length = binary::length(buffer.len() - head).ok_or_else(|| Error::internal("an event is too long"))?;
                buffer[head - LENGTH_BYTES..head].copy_from_slice(&length);
                buffer.extend_from_slice(&bytes);
                self.room += bytes.len();
                RawOutput::Binary(buffer.split().freeze(), position)
            }
        };
        self.buffers.keep(buffer);
        Ok(output)
    }

    /// Where in what comes before an event its frame begins.
    fn head_at(&self) -> usize {
        match self.encoding {
            Encoding::Frames { binary: Some(at), .. } => at,
            _ => 0,
        }
    }
}

/// The raw form of an event. It cannot say that something is missing.
fn raw<O: Streaming>(event: &O::Event) -> Result<RawOutput, Error> {
    if O::is_gap(event) {
        return Err(Error::new(Code::Gone, "some output is no longer kept; every form but the raw one says how much"));
    }
    match O::raw(event) {
        Some(bytes) => Ok(RawOutput::Event(bytes.clone(), None)),
        None => encode(event).map(RawOutput::Silent),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cabana_protocol::{
        Data, ProcessId,
        exec::{Exec, ExecEvent},
        frame::binary::Raw,
        line::Line,
        link,
    };

    use super::*;

    /// Every character that JSON escapes, and some of each length in UTF-8, at every place in a word and around its edges.
    fn texts() -> impl Iterator<Item = Bytes> {
        let characters = (0..=0x80).chain([0xe9, 0x7ff, 0x2028, 0xffff, 0x1f30a]).filter_map(char::from_u32);
        characters.flat_map(|character| {
            (0..70).map(move |place| {
                let (before, after) = ("x".repeat(place), "y".repeat(70 - place));
                format!("{before}{character}{after}{character}").into()
            })
        })
    }

    #[test]
    fn events_are_encoded_as_the_protocol_does() {
        let mut encoder = Encoder::new(Encoding::Sse);
        let outputs = texts().chain([Bytes::new(), Bytes::from_static(b"\xff\n")]);
        let outputs = outputs.map(|bytes| ExecEvent::Stdout { offset: 1 << 60, bytes: Data(bytes) });
        for event in outputs.chain([ExecEvent::Started { process: ProcessId::new("a", 1), pid: 7 }]) {
            let id = event.end().map_or(String::new(), |end| format!("id: {end}\n"));
            let expected = serde_json::to_string(&event).unwrap();
            match encoder.encode::<Exec>(Line::Event(event)) {
                RawOutput::Event(line, _) => assert_eq!(String::from_utf8_lossy(&line), format!("{id}data: {expected}\n\n")),
                said => panic!("{said:?}"),
            }
        }
    }

    #[test]
    fn the_bytes_of_events_stand_behind_binary_frames() {
        let before = r#"7 {"type":"event","id":"a","payload":"#.to_owned();
        let mut encoder = Encoder::new(Encoding::Frames { before, after: "}", binary: Some(2) });
        let pieces = [b"text\n".as_slice(), b"\0\xff", &[b'x'; 70_000], b""].map(Bytes::from_static);
        for bytes in pieces {
            let frame = match encoder.encode::<Exec>(Line::Event(ExecEvent::Stdout { offset: 3, bytes: Data(bytes.clone()) })) {
                RawOutput::Binary(frame, position) if position == Some(3 + bytes.len() as u64) => frame,
                said => panic!("{said:?}"),
            };
            let (client, frame) = link::split(&frame).unwrap();
            let head = r#"{"type":"event","id":"a","payload":{"type":"stdout","offset":3,"bytes":""}}"#;
            assert_eq!((client, Raw::Binary(frame).split()), (7, Ok((head, &*bytes))));
        }
        let started = ExecEvent::Started { process: ProcessId::new("a", 1), pid: 7 };
        assert!(matches!(encoder.encode::<Exec>(Line::Event(started)), RawOutput::Event(text, None) if text.starts_with(b"7 {")));
    }
}
