//! What must be true of a file before something is done with it: RFC 9110, section 13.
//!
//! The parser is our own: a list of which a part is malformed is refused, where the crate `headers` passes over that part, so that a
//! write with a malformed If-None-Match would go through.

use std::str::FromStr;

use cabana_protocol::{Code, Error, file::FilePath};
use serde_json::json;

/// What a caller demands of a file.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// If-Match: its ETag is among these.
    pub if_match: Option<Tags>,
    /// If-None-Match: its ETag is not among these.
    pub if_none_match: Option<Tags>,
}

/// A list of ETags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    /// `*`: any version, as long as there is one.
    Any,
    /// These versions, each as it was written: in quotes, with `W/` before it where it is weak.
    Listed(Vec<String>),
}

impl Conditions {
    /// Whether nothing is demanded.
    pub(super) fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Fails with `precondition_failed` unless they hold for a file with this ETag, or for no file.
    pub(super) fn check(&self, path: &FilePath, etag: Option<&str>) -> Result<(), Error> {
        self.check_match(path, etag)?;
        if self.if_none_match.as_ref().is_some_and(|tags| etag.is_some_and(|etag| tags.match_weakly(etag))) {
            return Err(precondition_failed(path, etag));
        }
        Ok(())
    }

    /// Only what If-Match demands: for a download, If-None-Match means something else.
    pub(crate) fn check_match(&self, path: &FilePath, etag: Option<&str>) -> Result<(), Error> {
        if self.if_match.as_ref().is_none_or(|tags| etag.is_some_and(|etag| tags.match_strongly(etag))) {
            return Ok(());
        }
        Err(precondition_failed(path, etag))
    }
}

fn precondition_failed(path: &FilePath, etag: Option<&str>) -> Error {
    let message = format!("{path}: ETag does not match: the file changed");
    Error::new(Code::PreconditionFailed, message).with_details(json!({ "path": path, "etag": etag }))
}

impl Tags {
    /// Whether this version is among them, byte for byte: a weak tag never is.
    fn match_strongly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| tag == etag),
        }
    }

    /// Whether this version, or one that means the same, is among them.
    pub(crate) fn match_weakly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == etag),
        }
    }
}

impl FromStr for Tags {
    type Err = Error;

    /// Reads what an If-Match field says. A quoted tag may hold commas.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::invalid_request("If-Match is * or a list of ETags in quotes");
        let mut rest = text.trim();
        if rest == "*" {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        while !rest.is_empty() {
            let quote = if rest.starts_with("W/") { 2 } else { 0 };
            let opaque = rest[quote..].strip_prefix('"').and_then(|rest| rest.split_once('"')).ok_or_else(bad)?.0;
            let (tag, after) = rest.split_at(quote + opaque.len() + 2);
            tags.push(tag.to_owned());
            let after = after.trim_start();
            rest = after.strip_prefix(',').map_or(after, str::trim_start);
            if after.len() == rest.len() && !rest.is_empty() {
                return Err(bad());
            }
        }
        if tags.is_empty() { Err(bad()) } else { Ok(Self::Listed(tags)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags_are_read_as_rfc_9110_says() {
        for (text, tags) in [
            ("*", Some(Tags::Any)),
            (" * ", Some(Tags::Any)),
            (r#""a""#, Some(Tags::Listed(vec![r#""a""#.to_owned()]))),
            (r#"W/"a" ,"b,c","""#, Some(Tags::Listed(vec![r#"W/"a""#.to_owned(), r#""b,c""#.to_owned(), r#""""#.to_owned()]))),
            ("", None),
            ("a", None),
            (r#""a"#, None),
            (r#""a", *"#, None),
            (r#""a" "b""#, None),
            (r#"w/"a""#, None),
        ] {
            assert_eq!(text.parse::<Tags>().ok(), tags, "{text}");
        }
    }

    #[test]
    fn a_weak_tag_matches_only_where_weak_is_enough() {
        let tags: Tags = r#"W/"a", "b""#.parse().unwrap();
        for (etag, strongly, weakly) in [(r#""a""#, false, true), (r#""b""#, true, true), (r#""c""#, false, false)] {
            assert_eq!((tags.match_strongly(etag), tags.match_weakly(etag)), (strongly, weakly), "{etag}");
        }
    }
}
