//! What can be told from the beginning of an agent's message, without the frame that it carries. Pure.

use cabana_protocol::{
    Code,
    audit::Outcome,
    link::{Body, Message},
};

/// Characters of a message that are looked at: its client's number, and the head of a frame with the longest id, every character of it
/// escaped.
pub(super) const HEAD: u32 = 1_024;

/// How a frame of an agent begins that goes on: nothing has ended.
const EVENT: &str = r#"{"type":"event""#;

/// How the frames begin that end an id.
const ENDS: [&str; 2] = [r#"{"type":"result","id":"#, r#"{"type":"error","id":"#];

/// An agent's message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Relayed {
    /// A frame for a client.
    Frame {
        /// Whose it is.
        client: u64,
        /// Where in the message the frame begins; all before it are ASCII digits and a space.
        at: u32,
        /// The id that ends with it, and how.
        ends: Option<(String, Outcome)>,
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
            Body::Frame(frame) => {
                let at = u32::try_from(head.len() - frame.len()).ok()?;
                let ends = if frame.starts_with(EVENT) { None } else { ended(frame) };
                Some(Self::Frame { client, at, ends })
            }
            Body::About(about) => {
                let (id, summary) = text(about)?;
                Some(Self::About { client, id, summary: summary.trim_start().to_owned() })
            }
            Body::Gone => Some(Self::GivenUp { client }),
            Body::Taken(_) => None,
        }
    }
}

fn ended(frame: &str) -> Option<(String, Outcome)> {
    let (kind, rest) = ENDS.iter().find_map(|start| Some((*start, frame.strip_prefix(start)?)))?;
    let (id, rest) = text(rest)?;
    let outcome = if kind == ENDS[0] { Outcome::OK } else { Outcome::Failed(code(rest)) };
    Some((id, outcome))
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
        Message { client, body: Body::Frame(&frame) }.to_string().chars().take(HEAD as usize).collect()
    }

    #[test]
    fn results_and_errors_end_their_ids() {
        let escaped = "\u{1}".repeat(MAX_ID_BYTES);
        for (kind, id, ends) in [
            (Reply::Event, Some("a"), None),
            (Reply::Result, Some("a"), Some("a")),
            (Reply::Error, Some("a\"é\\"), Some("a\"é\\")),
            (Reply::Result, Some(escaped.as_str()), Some(escaped.as_str())),
            (Reply::Error, None, None),
            (Reply::Pong, None, None),
        ] {
            let outcome = if kind == Reply::Result { Outcome::OK } else { Outcome::Failed(Code::Internal) };
            let expected = Relayed::Frame { client: u64::MAX, at: 21, ends: ends.map(|id: &str| (id.to_owned(), outcome)) };
            assert_eq!(Relayed::parse(&head(u64::MAX, kind, id)), Some(expected), "{kind:?} {id:?}");
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
            let message = Message { client: 7, body: Body::Frame(&serde_json::to_string(&frame).unwrap()) }.to_string();
            let head: String = message.chars().take(HEAD as usize).collect();
            let expected = Relayed::Frame { client: 7, at: 2, ends: Some(("a".to_owned(), Outcome::Failed(code))) };
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
