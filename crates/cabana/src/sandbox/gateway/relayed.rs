//! What can be told from the beginning of an agent's message, without the frame that it carries. Pure.

use cabana_protocol::{
    Code,
    audit::Outcome,
    frame::binary::LENGTH_BYTES,
    link::{self, Body, Message},
};

/// Characters or bytes of a message that are looked at: its client's number, and the head of a frame with the longest id, every
/// character of it escaped.
pub(super) const HEAD: u32 = 1_024;

/// How the frames of an agent begin that have an id.
const EVENT: &str = r#"{"type":"event","id":"#;
const RESULT: &str = r#"{"type":"result","id":"#;
const ERROR: &str = r#"{"type":"error","id":"#;

/// An agent's message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Relayed {
    /// A frame for a client.
    Frame {
        /// Whose it is.
        client: u64,
        /// Where in the message the frame begins; all before it are ASCII digits and a space.
        at: u32,
        /// The id that it belongs to.
        id: Option<String>,
        /// How that ends with it, if it does.
        ends: Option<Outcome>,
    },
    /// What an operation is about.
    About {
        /// Whose it is.
        client: u64,
        /// Under which id.
        id: String,
        /// The agent's word.
        summary: String,
    },
    /// The agent has given up on a client that takes no answers.
    GivenUp {
        /// On whom.
        client: u64,
    },
}

impl Relayed {
    /// Looks at the first characters of a message. `None` for what no agent of ours says.
    pub(super) fn parse(head: &str) -> Option<Self> {
        let Message { client, body } = Message::parse(head)?;
        match body {
            Body::Frame { text, .. } => Self::frame(client, head.len() - text.len(), text),
            Body::About(about) => {
                let (id, summary) = text(about)?;
                Some(Self::About { client, id, summary: summary.trim_start().to_owned() })
            }
            Body::Gone => Some(Self::GivenUp { client }),
            Body::Taken(_) => None,
        }
    }

    /// Looks at the first bytes of a message with a binary frame. `None` for what no agent of ours says.
    pub(super) fn parse_binary(head: &[u8]) -> Option<Self> {
        let (client, frame) = link::split(head)?;
        let json = String::from_utf8_lossy(frame.get(LENGTH_BYTES..)?);
        Self::frame(client, head.len() - frame.len(), &json)
    }

    fn frame(client: u64, at: usize, json: &str) -> Option<Self> {
        let (id, ends) = course(json).unzip();
        Some(Self::Frame { client, at: u32::try_from(at).ok()?, id, ends: ends.flatten() })
    }
}

/// The id that a frame belongs to, and how it ends with that.
fn course(frame: &str) -> Option<(String, Option<Outcome>)> {
    let of = |start: &str| text(frame.strip_prefix(start)?);
    if let Some((id, _)) = of(EVENT) {
        return Some((id, None));
    }
    if let Some((id, _)) = of(RESULT) {
        return Some((id, Some(Outcome::OK)));
    }
    of(ERROR).map(|(id, rest)| (id, Some(Outcome::Failed(code(rest)))))
}

/// The string that JSON begins with, and what follows it, which may be cut off.
fn text(json: &str) -> Option<(String, &str)> {
    let mut strings = serde_json::Deserializer::from_str(json).into_iter();
    let text = strings.next()?.ok()?;
    Some((text, &json[strings.byte_offset()..]))
}

/// The code of an error, which stands first in its payload.
fn code(rest: &str) -> Code {
    let code = rest.strip_prefix(r#","payload":{"code":"#);
    let code = code.and_then(|code| serde_json::Deserializer::from_str(code).into_iter().next()?.ok());
    code.unwrap_or(Code::Internal)
}

#[cfg(test)]
mod tests {
    use cabana_protocol::frame::{MAX_ID_BYTES, Reply, ServerFrame};
    use serde_json::value::to_raw_value;

    use super::*;

    /// A message as an agent sends it, cut off where nobody looks further.
    fn head(client: u64, kind: Reply, id: Option<&str>) -> String {
        let payload = to_raw_value(&"é".repeat(2_000)).unwrap();
        let frame =
            serde_json::to_string(&ServerFrame { kind, id: id.map(Into::into), payload: std::borrow::Cow::Owned(payload) })
                .unwrap();
        Message { client, body: Body::Frame { text: &frame, binary: false } }.to_string().chars().take(HEAD as usize).collect()
    }

    #[test]
    fn results_and_errors_end_their_ids() {
        let escaped = "\u{1}".repeat(MAX_ID_BYTES);
        let failed = Outcome::Failed(Code::Internal);
        for (kind, id, ends) in [
            (Reply::Event, Some("a"), None),
            (Reply::Event, Some(escaped.as_str()), None),
            (Reply::Result, Some("a"), Some(Outcome::OK)),
            (Reply::Error, Some("a\"é\\"), Some(failed)),
            (Reply::Result, Some(escaped.as_str()), Some(Outcome::OK)),
            (Reply::Error, None, None),
            (Reply::Pong, None, None),
        ] {
            let expected = Some(Relayed::Frame { client: u64::MAX, at: 21, id: id.map(str::to_owned), ends });
            let head = head(u64::MAX, kind, id);
            assert_eq!(Relayed::parse(&head), expected, "{kind:?} {id:?}");
            let (prefix, json) = head.split_at(21);
            let binary: Vec<_> = [prefix.as_bytes(), b"\0\0\xff\xff", json.as_bytes()].concat();
            assert_eq!(Relayed::parse_binary(&binary[..HEAD as usize]), expected, "{kind:?} {id:?}");
        }
    }

    #[test]
    fn bytes_behind_a_head_are_not_taken_for_it() {
        let frame = [b"7 \0\0\0\x38".as_slice(), br#"{"type":"event","id":"a","payload":{"bytes":""}}"#, b"\xff\0{\""].concat();
        let expected = Relayed::Frame { client: 7, at: 2, id: Some("a".to_owned()), ends: None };
        assert_eq!(Relayed::parse_binary(&frame), Some(expected));
        for message in [b"".as_slice(), b"7", b"7 ", b"7 \0\0\0", b"x \0\0\0\x02{}"] {
            assert_eq!(Relayed::parse_binary(message), None, "{message:?}");
        }
    }

    #[test]
    fn an_error_names_its_code() {
        for (payload, code) in [
            (cabana_protocol::Error::not_found("é".repeat(2_000)), Code::NotFound),
            (cabana_protocol::Error::new(Code::Conflict, ""), Code::Conflict),
        ] {
            let payload = to_raw_value(&payload).unwrap();
            let frame = ServerFrame { kind: Reply::Error, id: Some("a".into()), payload: std::borrow::Cow::Owned(payload) };
            let text = serde_json::to_string(&frame).unwrap();
            let message = Message { client: 7, body: Body::Frame { text: &text, binary: false } }.to_string();
            let head: String = message.chars().take(HEAD as usize).collect();
            let expected = Relayed::Frame { client: 7, at: 2, id: Some("a".to_owned()), ends: Some(Outcome::Failed(code)) };
            assert_eq!(Relayed::parse(&head), Some(expected));
        }
    }

    #[test]
    fn the_rest() {
        assert_eq!(Relayed::parse("7 -"), Some(Relayed::GivenUp { client: 7 }));
        let about = Relayed::About { client: 7, id: "a\"é".to_owned(), summary: "echo \"x\"".to_owned() };
        assert_eq!(Relayed::parse(r#"7 #"a\"é" echo "x""#), Some(about));
        for text in ["7 #", "7 #a b", "", "7", "7 +3", "HTTP/1.1 200", "{\"type\":\"event\"}"] {
            assert_eq!(Relayed::parse(text), None, "{text}");
        }
    }
}
