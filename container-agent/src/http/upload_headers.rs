//! What the header of an upload may say of its body: which part of the content it is; and that it is the content itself, not encoded.

use axum::http::{HeaderMap, header};
use cabana_protocol::{Code, Error};

use crate::file::PartRange;

/// Which part of the content the body is; `None` for all of it.
///
/// Fails with `invalid_request` for a malformed Content-Range (RFC 9110, 14.5: to store the part would put a fragment in place of the whole),
/// and with `unsupported_media_type` for an encoded body, which would be stored encoded.
pub(super) fn check_upload(headers: &HeaderMap) -> Result<Option<PartRange>, Error> {
    let mut ranges = headers.get_all(header::CONTENT_RANGE).iter();
    let range = match (ranges.next(), ranges.next()) {
        (None, _) => None,
        (Some(range), None) => Some(range.to_str().ok().and_then(part_range).ok_or_else(malformed_range)?),
        (Some(_), Some(_)) => return Err(malformed_range()),
    };
    // The server undoes the chunks, and nothing else (RFC 9112, 6.1).
    if !codings(headers, header::TRANSFER_ENCODING).all(|coding| is_identity(coding) || coding.eq_ignore_ascii_case(b"chunked")) {
        return Err(Error::new(Code::NotImplemented, "Transfer-Encoding is not supported beyond chunked"));
    }
    if codings(headers, header::CONTENT_ENCODING).all(is_identity) {
        return Ok(range);
    }
    let message =
        "Content-Encoding is not supported: send the content itself; an archive's compression is told by its first bytes";
    Err(Error::new(Code::UnsupportedMediaType, message))
}

fn malformed_range() -> Error {
    Error::invalid_request("Content-Range: must be bytes <first>-<last>/<complete length or *>")
}

/// A range of bytes, as RFC 9110 writes it.
fn part_range(range: &str) -> Option<PartRange> {
    let (unit, range) = range.split_once(' ')?;
    let (bounds, complete) = range.split_once('/')?;
    let (first, last) = bounds.split_once('-')?;
    let (first, end) = (number(first)?, number(last)?.checked_add(1)?);
    let complete = if complete == "*" { None } else { Some(number(complete)?) };
    let fits = first < end && complete.is_none_or(|complete| end <= complete);
    (unit.eq_ignore_ascii_case("bytes") && fits).then_some(PartRange { first, end, complete })
}

/// Digits and nothing else: the standard library's numbers may have a sign.
pub(super) fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The elements of a list of codings.
fn codings(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// Whether a coding changes nothing. A list may have empty elements (RFC 9110, 5.6.1).
fn is_identity(coding: &[u8]) -> bool {
    coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_and_unencoded_uploads_are_taken() {
        for (fields, code) in [
            (vec![], None),
            (vec![("content-encoding", "identity")], None),
            (vec![("content-encoding", "Identity, ,identity")], None),
            (vec![("content-encoding", "")], None),
            (vec![("content-encoding", "gzip")], Some(Code::UnsupportedMediaType)),
            (vec![("content-encoding", "identity, zstd")], Some(Code::UnsupportedMediaType)),
            (vec![("content-encoding", "identity"), ("content-encoding", "br")], Some(Code::UnsupportedMediaType)),
            (vec![("content-encoding", "aws-chunked")], Some(Code::UnsupportedMediaType)),
            (vec![("transfer-encoding", "chunked")], None),
            (vec![("transfer-encoding", "gzip, chunked")], Some(Code::NotImplemented)),
            (vec![("content-range", "bytes 0-9/10")], None),
            (vec![("content-range", "bytes 0-9/10"), ("content-range", "bytes 0-9/10")], Some(Code::InvalidRequest)),
            (vec![("content-range", "nonsense"), ("content-encoding", "gzip")], Some(Code::InvalidRequest)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(check_upload(&headers).err().map(|error| error.code), code, "{fields:?}");
        }
    }

    #[test]
    fn ranges_of_parts_are_read_as_rfc_9110_says() {
        let range = |first, end, complete| Some(PartRange { first, end, complete });
        for (text, expected) in [
            ("bytes 0-3/100", range(0, 4, Some(100))),
            ("Bytes 96-99/100", range(96, 100, Some(100))),
            ("bytes 7-7/*", range(7, 8, None)),
            ("bytes 0-18446744073709551614/*", range(0, u64::MAX, None)),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes 4-3/100", None),
            ("bytes 0-100/100", None),
            ("bytes */100", None),
            ("bytes 0-3", None),
            ("bytes=0-3/100", None),
            ("bytes +0-3/100", None),
            ("bytes 0-3/+100", None),
            ("bytes 0 - 3/100", None),
            ("bytes  0-3/100", None),
            ("bytes -3/100", None),
            ("lines 0-3/100", None),
            ("", None),
        ] {
            assert_eq!(part_range(text), expected, "{text}");
        }
    }
}
