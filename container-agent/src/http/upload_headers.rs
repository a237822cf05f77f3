//! What the header of an upload may say of its body: the lanes take whole representations, as they are.

use axum::http::{HeaderMap, header};
use cabana_protocol::{Code, Error};

/// Fails with `invalid_request` for a part (RFC 9110, 14.5: to store it would put a fragment in place of the whole), and with
/// `unsupported_media_type` for an encoded body, which would be stored encoded.
pub(super) fn check_upload(headers: &HeaderMap) -> Result<(), Error> {
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Error::invalid_request("Content-Range is not supported: an upload is always the whole content"));
    }
    let mut codings =
        headers.get_all(header::CONTENT_ENCODING).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if codings.all(|coding| is_identity(coding.trim_ascii())) {
        return Ok(());
    }
    let message =
        "Content-Encoding is not supported: send the content itself; an archive's compression is told by its first bytes";
    Err(Error::new(Code::UnsupportedMediaType, message))
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
