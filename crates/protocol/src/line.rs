//! One line of a streaming operation over HTTP, in NDJSON and as an SSE event's data.
//!
//! After some seconds of silence a blank line (in SSE a comment) shows that the connection is alive; readers skip it. Likewise
//! the JSON form of a long operation may begin with spaces.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, Streaming, decode_own};

/// A line: an event as it is, or the end, `{"type": "result", …}` or `{"type": "error", …}`. A stream that ends without one
/// of the last two was interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<E, R> {
    /// Something said on the way.
    Event(E),
    /// The response.
    Result(R),
    /// The failure.
    Error(Error),
}

/// The last line of a stream.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum End<R> {
    Result(R),
    Error(Error),
}

#[derive(Deserialize)]
struct Tag {
    #[serde(rename = "type")]
    kind: String,
}

impl<E: Serialize, R: Serialize> Line<E, R> {
    /// The line, without its line break.
    pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Event(event) => serde_json::to_vec(event),
            Self::Result(response) => serde_json::to_vec(&End::Result(response)),
            Self::Error(error) => serde_json::to_vec(&End::<()>::Error(error.clone())),
        }
    }
}

impl<E: DeserializeOwned, R: DeserializeOwned> Line<E, R> {
    /// Reads a line. Fails with `invalid_request`.
    pub fn decode(line: &[u8]) -> Result<Self, Error> {
        let tag: Tag = decode_own(line)?;
        if !matches!(tag.kind.as_str(), "result" | "error") {
            return decode_own(line).map(Self::Event);
        }
        Ok(match decode_own(line)? {
            End::Result(response) => Self::Result(response),
            End::Error(error) => Self::Error(error),
        })
    }
}

/// A line of this operation.
pub type LineOf<O> = Line<<O as Streaming>::Event, <O as crate::Operation>::Response>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, ProcessId, exec::*};

    #[test]
    fn lines_read_back() {
        let process = ProcessId::new("a", 1);
        let exit = Some(Exit::TimedOut);
        let result = ExecResult { process: process.clone(), exit, duration_ms: 5, session_ended: false, usage: None, pid: None };
        for (line, text) in [
            (Line::Event(ExecEvent::Started { process, pid: 7 }), r#"{"type":"started","process":"a-1","pid":7}"#),
            (Line::Event(ExecEvent::Stdout { offset: 3, bytes: "x\n".into() }), r#"{"type":"stdout","offset":3,"bytes":"x\n"}"#),
            (Line::Result(result), r#"{"type":"result","process":"a-1","exit":{"type":"timed_out","code":124},"duration_ms":5}"#),
            (
                Line::Error(Error::new(Code::NotFound, "no")),
                r#"{"type":"error","code":"not_found","message":"no","retryable":false}"#,
            ),
        ] {
            let encoded = line.encode().unwrap();
            assert_eq!(String::from_utf8_lossy(&encoded), text);
            assert_eq!(LineOf::<Exec>::decode(&encoded).unwrap(), line);
        }
    }
}
