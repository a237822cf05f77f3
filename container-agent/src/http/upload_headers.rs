//! What the header of an upload may say of its body: the lanes take whole representations, as they are.

use axum::http::{HeaderMap, header};
use cabana_protocol::{Code, Error};

/// Fails with `invalid_request` for a part (RFC 9110, 14.5: to store it would put a fragment in place of the whole), and with
/// `unsupported_media_type` for an encoded body, which would be stored encoded.
pub(super) fn check_upload(headers: &HeaderMap) -> Result<(), Error> {
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Error::invalid_request("Content-Range is not supported: an upload is always the whole content"));
    }
    // The server undoes the chunks, and nothing else (RFC 9112, 6.1).
    if !codings(headers, header::TRANSFER_ENCODING).all(|coding| is_identity(coding) || coding.eq_ignore_ascii_case(b"chunked")) {
        return Err(Error::new(Code::NotImplemented, "Transfer-Encoding is not supported beyond chunked"));
    }
    if codings(headers, header::CONTENT_ENCODING).all(is_identity) {
        return Ok(());
    }
    let message =
        "Content-Encoding is not supported: send the content itself; an archive's compression is told by its first bytes";
    Err(Error::new(Code::UnsupportedMediaType, message))
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
            (vec![("content-range", "bytes 0-9/10")], Some(Code::InvalidRequest)),
            (vec![("content-range", "nonsense"), ("content-encoding", "gzip")], Some(Code::InvalidRequest)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(check_upload(&headers).err().map(|error| error.code), code, "{fields:?}");
        }
    }
}
