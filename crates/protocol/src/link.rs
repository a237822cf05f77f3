//! What travels on the one WebSocket between a sandbox's Durable Object and its agent: the frames of all the clients' sockets, each
//! behind its client's number. Nobody else speaks it.
//!
//! ```text
//! object -> agent   7 {"type":"exec",…}    a frame of client 7, as it came
//!                   7 *{"type":"exec",…}   the same, where client 7 takes binary frames
//!                   7 +3                   client 7 has taken three more frames
//!                   7 -                    client 7 has gone: what runs for it ends
//! agent -> object   7 {"type":"event",…}   a frame for client 7, to be passed on as it is
//!                   7 #"a" npm test        what the operation that client 7 calls "a" is about, for the audit
//!                   7 -                    client 7 goes on and on and takes nothing: it is given up
//! ```
//!
//! A binary frame is a binary message, whichever way it goes: the client's number, a space, and the frame.
//!
//! The agent sends no client more than [`WINDOW_BYTES`] beyond what it has taken, and one larger frame. So a client that is slow
//! holds up what runs for it, and neither the object nor the other clients.

use std::fmt;

/// The subprotocol of `GET /v1/connect` that makes it a link.
pub const SUBPROTOCOL: &str = "cabana.link";

/// Bytes of frames that may be on their way to one client.
pub const WINDOW_BYTES: usize = 256 << 10;

/// What the smallest frame counts for in the window.
pub const LEAST_BYTES: usize = 1 << 10;

/// What the largest frame counts for. It fits while the object owes the agent less than [`OWED_BYTES`], so that both never wait for
/// each other.
pub const MOST_BYTES: usize = WINDOW_BYTES - OWED_BYTES;

/// The object tells the agent what a client has taken when it comes to so many bytes.
pub const OWED_BYTES: usize = WINDOW_BYTES / 4;

/// Digits of the largest number.
pub const MOST_DIGITS: usize = 20;

/// What a frame of this length counts for in the window.
pub fn cost(length: usize) -> usize {
    length.clamp(LEAST_BYTES, MOST_BYTES)
}

/// A message of a link, whichever way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The object's number for the client.
    pub client: u64,
    /// What it says.
    pub body: Body<'a>,
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// A frame.
    Frame {
        /// In JSON.
        text: &'a str,
        /// Whether the client that it is from takes binary frames.
        binary: bool,
    },
    /// So many more frames were taken.
    Taken(u64),
    /// What an operation is about: its id in JSON, a space, and one line without secrets.
    About(&'a str),
    /// The client has gone.
    Gone,
}

impl<'a> Message<'a> {
    /// Undoes `to_string`. `None` for what is no message; of a message's frame, only the first character is looked at.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (client, body) = text.split_once(' ')?;
        let body = match body.as_bytes().first()? {
            b'+' => Body::Taken(body[1..].parse().ok()?),
            b'#' => Body::About(&body[1..]),
            b'-' => Body::Gone,
            b'*' => Body::Frame { text: &body[1..], binary: true },
            _ => Body::Frame { text: body, binary: false },
        };
        Some(Self { client: client.parse().ok()?, body })
    }
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = self.client;
        match self.body {
            Body::Frame { text, binary: false } => write!(formatter, "{client} {text}"),
            Body::Frame { text, binary: true } => write!(formatter, "{client} *{text}"),
            Body::Taken(frames) => write!(formatter, "{client} +{frames}"),
            Body::About(about) => write!(formatter, "{client} #{about}"),
            Body::Gone => write!(formatter, "{client} -"),
        }
    }
}

/// A message that carries a binary frame.
pub fn join(client: u64, frame: &[u8]) -> Vec<u8> {
    [client.to_string().as_bytes(), b" ", frame].concat()
}

/// Whose a binary frame is, and the frame. `None` for what is no message; the frame is not looked at.
pub fn split(message: &[u8]) -> Option<(u64, &[u8])> {
    let end = message.iter().take(MOST_DIGITS + 1).position(|byte| *byte == b' ')?;
    let client = std::str::from_utf8(&message[..end]).ok()?;
    Some((client.parse().ok()?, &message[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_way() {
        let frame = |text, binary| Body::Frame { text, binary };
        for (client, body) in [
            (0, frame("{}", false)),
            (0, frame("{}", true)),
            (7, frame(r#"{"type":"exec", "id":"7 +3"}"#, false)),
            (u64::MAX, frame("not JSON +", false)),
            (7, Body::Taken(3)),
            (7, Body::About("\"a\" npm test")),
            (8, Body::Gone),
        ] {
            let message = Message { client, body };
            assert_eq!(Message::parse(&message.to_string()), Some(message));
        }
    }

    #[test]
    fn binary_frames_survive_the_way() {
        for (client, frame) in [(0, b"".as_slice()), (7, b" 8 \xff"), (u64::MAX, b"\0\0\0\x02{}")] {
            assert_eq!(split(&join(client, frame)), Some((client, frame)));
        }
        for message in [b"".as_slice(), b"7", b" {}", b"x {}", b"\xff {}", b"123456789012345678901 {}"] {
            assert_eq!(split(message), None, "{message:?}");
        }
    }

    #[test]
    fn what_is_no_message() {
        for text in ["", " ", "7", "7 ", "x {}", "-1 {}", "7 +", "7 +x", "{\"type\":\"exec\"}"] {
            assert_eq!(Message::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_largest_frame_always_fits_in_the_end() {
        assert_eq!((cost(0), cost(2_000), cost(1 << 30)), (LEAST_BYTES, 2_000, MOST_BYTES));
        const { assert!(MOST_BYTES + OWED_BYTES <= WINDOW_BYTES && 2 * MOST_BYTES > WINDOW_BYTES) };
    }
}
