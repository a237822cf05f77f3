//! Which part of a file a download gives.

#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::http) mod fuzz;

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::{file::Opened, http::upload_headers::number};

/// Whether a caller that had the file at this time has this version, where it does not name it by its ETag (RFC 9110, 13.1.3). A date that is
/// none is passed over.
pub(super) fn is_unmodified(headers: &HeaderMap, opened: &Opened) -> bool {
    let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    // An HTTP date has no fractions of a second.
    since.is_some_and(|since| seconds(opened.modified) <= seconds(since))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Which part of a file is wanted, RFC 9110 sections 13 and 14.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// None: the caller has this version.
    Unchanged,
    Whole,
    Range {
        first: u64,
        /// At least 1.
        length: u64,
    },
    Unsatisfiable,
}

impl Part {
    /// What a request with these fields wants. Only GET knows ranges.
    pub(super) fn of(method: &Method, headers: &HeaderMap, opened: &Opened) -> Self {
        let fresh = headers.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == opened.etag.as_bytes());
        match headers.get(header::RANGE).map(HeaderValue::to_str) {
            Some(Ok(range)) if fresh && method == Method::GET => Self::of_range(range, opened.size_bytes),
            _ => Self::Whole,
        }
    }

    /// One range is served; several, or one that is no range at all, give the whole file, as section 14.2 allows.
    fn of_range(range: &str, size: u64) -> Self {
        let bounds = range.split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
        let bounds = bounds.and_then(|(_, range)| range.trim().split_once('-'));
        let Some((first, last)) = bounds else { return Self::Whole };
        let (first, last) = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last),
            (Some(first), None) if last.is_empty() => (first, u64::MAX),
            (None, Some(0)) if first.is_empty() => return Self::Unsatisfiable,
            (None, Some(length)) if first.is_empty() => (size.saturating_sub(length), u64::MAX),
            _ => return Self::Whole,
        };
        let last = last.min(size.saturating_sub(1));
        if first >= size { Self::Unsatisfiable } else { Self::Range { first, length: last - first + 1 } }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Unchanged => StatusCode::NOT_MODIFIED,
            Self::Whole => StatusCode::OK,
            Self::Range { .. } => StatusCode::PARTIAL_CONTENT,
            Self::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// First byte and length of what is sent of a file of this size.
    pub(super) fn bytes(self, size: u64) -> (u64, u64) {
        match self {
            Self::Whole => (0, size),
            Self::Range { first, length } => (first, length),
            Self::Unchanged | Self::Unsatisfiable => (0, 0),
        }
    }

    /// The Content-Range that goes with it.
    pub(super) fn content_range(self, size: u64) -> Option<String> {
        match self {
            Self::Range { first, length } => Some(format!("bytes {first}-{}/{size}", first + length - 1)),
            Self::Unsatisfiable => Some(format!("bytes */{size}")),
            Self::Unchanged | Self::Whole => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let range = |first, length| Part::Range { first, length };
        for (text, size, part) in [
            ("bytes=0-0", 10, range(0, 1)),
            ("bytes=2-", 10, range(2, 8)),
            ("bytes=-3", 10, range(7, 3)),
            ("bytes=-30", 10, range(0, 10)),
            ("bytes=2-99", 10, range(2, 8)),
            ("bytes=10-", 10, Part::Unsatisfiable),
            ("bytes=0-", 0, Part::Unsatisfiable),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("lines=1-2", 10, Part::Whole),
            ("bytes=b-a", 10, Part::Whole),
            ("bytes=5-2", 10, Part::Whole),
            ("bytes=+1-2", 10, Part::Whole),
            ("bytes=1-+2", 10, Part::Whole),
            ("bytes=-+2", 10, Part::Whole),
            ("bytes=1 - 2", 10, Part::Whole),
            ("bytes=-", 10, Part::Whole),
            ("Bytes=1-2", 10, range(1, 2)),
            ("bytes=-0", 10, Part::Unsatisfiable),
            ("bytes=99999999999999999999-", 10, Part::Whole),
        ] {
            assert_eq!(Part::of_range(text, size), part, "{text} of {size}");
        }
    }
}
