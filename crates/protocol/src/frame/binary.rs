//! Binary frames: bytes behind a frame of JSON, as they are.
//!
//! ```text
//! 4 bytes    the length of the head, big-endian
//! the head   a frame in JSON, as it would be sent alone, whose field of bytes is empty: ""
//! the rest   the bytes that belong into that field
//! ```
//!
//! A client gets them, and may send them, if it asks for them when it connects ([`asked_for`]). Which field it is, each operation
//! says: [`Operation::bytes`](crate::Operation::bytes) and its like. What has no bytes comes as text, and bytes may be sent as text
//! still.

use std::str;

use crate::{
    Error,
    names::{check_parameters, invalid_parameter},
};

/// Bytes before the head.
pub const LENGTH_BYTES: usize = 4;

/// The parameter of a connection's query by which a client asks for binary frames.
pub const PARAMETER: &str = "binary";

/// What is wrong with a binary frame of a client that has not asked for them.
pub const NOT_ASKED_FOR: &str = "frames are text, unless binary ones are asked for: connect with ?binary=1";

/// A frame as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'a> {
    /// As text: JSON alone.
    Text(&'a str),
    /// As binary: JSON, and bytes behind it.
    Binary(&'a [u8]),
}

impl<'a> Raw<'a> {
    /// How long it is, in bytes.
    pub fn length(self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(frame) => frame.len(),
        }
    }

    /// The JSON, and what stands behind it: nothing behind text. That it is JSON is not checked.
    ///
    /// Fails with `invalid_request`.
    pub fn split(self) -> Result<(&'a str, &'a [u8]), Error> {
        match self {
            Self::Text(text) => Ok((text, &[])),
            Self::Binary(frame) => split(frame).ok_or_else(|| {
                Error::invalid_request("not a binary frame: 4 bytes with the length of the JSON, the JSON in UTF-8, the bytes")
            }),
        }
    }
}

fn split(frame: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = frame.split_first_chunk::<LENGTH_BYTES>()?;
    let (head, bytes) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((str::from_utf8(head).ok()?, bytes))
}

/// What stands before a head of this length. `None` for one that is too long for any frame.
pub fn length(head: usize) -> Option<[u8; LENGTH_BYTES]> {
    u32::try_from(head).ok().map(u32::to_be_bytes)
}

/// Whether the query of a connection asks for binary frames: `binary=1` or `binary=true`. Default: no.
///
/// Fails with `invalid_request` where it says something else of it, or something twice.
pub fn asked_for(query: &str) -> Result<bool, Error> {
    let pairs = || query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    check_parameters(pairs().map(|(name, _)| name), &[PARAMETER])?;
    let mut values = pairs().filter(|(name, _)| *name == PARAMETER).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None | Some("0" | "false"), None) => Ok(false),
        (Some("1" | "true"), None) => Ok(true),
        _ => Err(invalid_parameter(PARAMETER, "`1`, `true`, `0` or `false`, once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    fn join(head: &str, bytes: &[u8]) -> Vec<u8> {
        [length(head.len()).unwrap().as_slice(), head.as_bytes(), bytes].concat()
    }

    #[test]
    fn what_is_joined_is_split() {
        for (head, bytes) in
            [("", b"".as_slice()), ("{}", b""), ("{\"id\":\"\u{1f30a}\"}", &[0xff, 0, b'{']), ("{}", &[7; 70_000])]
        {
            assert_eq!(Raw::Binary(&join(head, bytes)).split(), Ok((head, bytes)));
        }
        assert_eq!(Raw::Text("{}").split(), Ok(("{}", b"".as_slice())));
    }

    #[test]
    fn what_is_no_binary_frame() {
        for frame in
            [b"".as_slice(), b"\0\0\0", b"\0\0\0\x01", b"\0\0\0\x03{}", b"\xff\xff\xff\xff{}", b"{}{}{}", b"\0\0\0\x02\xff\xfe"]
        {
            assert_eq!(Raw::Binary(frame).split().unwrap_err().code, Code::InvalidRequest, "{frame:?}");
        }
    }

    #[test]
    fn who_asks_for_binary_frames() {
        for (query, expected) in [
            ("", Some(false)),
            ("binaries=1", None),
            ("binary=0", Some(false)),
            ("binary=false", Some(false)),
            ("binary=1", Some(true)),
            ("binary=true", Some(true)),
            ("binary", None),
            ("binary=", None),
            ("binary=yes", None),
            ("binary=1&binary=1", None),
        ] {
            assert_eq!(asked_for(query).ok(), expected, "{query}");
        }
    }
}
