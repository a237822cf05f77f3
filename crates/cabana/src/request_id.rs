//! The name of one request in the logs of every hop.

use std::fmt;

use crate::random;

/// The header that carries it, on requests and responses alike.
pub const HEADER: &str = "x-request-id";

/// Longest id taken over from a caller, in characters.
pub const MAX_LENGTH: usize = 64;

/// Names a request: at most 64 characters of `[A-Za-z0-9._-]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// The caller's id where it is a sane one, otherwise a random one.
    pub fn adopt(incoming: Option<&str>) -> Self {
        match incoming {
            Some(id) if is_sane(id) => Self(id.to_owned()),
            _ => Self(random::name()),
        }
    }

    /// The id of a request that came in.
    pub fn of(headers: &worker::Headers) -> Self {
        Self::adopt(headers.get(HEADER).ok().flatten().as_deref())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_sane(id: &str) -> bool {
    (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sane_ids_are_adopted() {
        let longest = "a".repeat(MAX_LENGTH);
        for id in ["a", "req-1", "A.b_C-9", &longest] {
            assert_eq!(RequestId::adopt(Some(id)).as_str(), id);
        }
    }

    #[test]
    fn others_are_replaced() {
        let long = "a".repeat(MAX_LENGTH + 1);
        for id in [None, Some(""), Some("a b"), Some("a\nb"), Some("{}"), Some("\u{e9}"), Some(long.as_str())] {
            let adopted = RequestId::adopt(id);
            assert!(is_sane(adopted.as_str()) && Some(adopted.as_str()) != id, "{id:?}");
        }
    }
}
