//! What a file is, as far as its first bytes and its name tell.

use std::{borrow::Cow, path::Path};

/// How much of a file's beginning is looked at.
pub const HEAD_BYTES: usize = 512;

const TEXT: &str = "text/plain";

const UNKNOWN: &str = "application/octet-stream";

/// The media type of a file of this name that begins with these bytes. Its content has the last word: a TypeScript file is not the
/// video that its name's end also stands for.
pub(super) fn media_type(path: &Path, head: &[u8]) -> &'static str {
    let named = mime_guess::from_path(path).first_raw();
    if is_text(head) {
        return named.filter(|name| !is_binary(name)).unwrap_or(TEXT);
    }
    let found = infer::get(head).map(|kind| kind.mime_type());
    // Documents, packages and books are archives of these forms, which their first bytes do not tell apart.
    let is_container = |found: &str| ["application/zip", "application/x-ole-storage", "application/gzip"].contains(&found);
    match (found, named) {
        (Some(found), Some(named)) if is_container(found) && named.starts_with("application/") => named,
        (found, named) => found.or(named).unwrap_or(UNKNOWN),
    }
}

/// The same for a header: of text it says how that is encoded.
pub fn content_type(path: &Path, head: &[u8]) -> Cow<'static, str> {
    match media_type(path, head) {
        text if text.starts_with("text/") && is_text(head) => format!("{text}; charset=utf-8").into(),
        other => other.into(),
    }
}

/// Whether it can be read: UTF-8 without NUL, where a character may be cut at the end.
fn is_text(head: &[u8]) -> bool {
    let cut = std::str::from_utf8(head).err();
    let text = cut.is_none_or(|error| error.error_len().is_none() && head.len() == HEAD_BYTES);
    text && !head.contains(&0)
}

/// Whether files of this type are never text.
fn is_binary(name: &str) -> bool {
    let binary = ["audio/", "font/", "image/", "video/"].iter().any(|family| name.starts_with(family));
    (binary && name != "image/svg+xml") || name == UNKNOWN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_has_the_last_word_and_the_name_helps() {
        let mut cut = vec![b'a'; HEAD_BYTES - 1];
        cut.push("é".as_bytes()[0]);
        for (path, head, expected) in [
            ("a.rs", b"fn main() {}".as_slice(), "text/x-rust"),
            ("a.json", b"{}", "application/json"),
            ("a.ts", b"export {}", "text/plain"),
            ("a.ts", b"\x47\0\xff", "video/vnd.dlna.mpeg-tts"),
            ("a.svg", b"<svg/>", "image/svg+xml"),
            ("a.html", b"", "text/html"),
            ("README", b"hello", "text/plain"),
            ("long", &cut, "text/plain"),
            ("picture", b"\x89PNG\r\n\x1a\n\0", "image/png"),
            ("picture.txt", b"\x89PNG\r\n\x1a\n\0", "image/png"),
            ("empty", b"", "text/plain"),
            (
                "letter.docx",
                b"PK\x03\x04\x14\0\0\0\xff",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            ),
            ("sheet.xlsx", b"PK\x03\x04\x14\0\0\0\xff", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
            ("book.epub", b"PK\x03\x04\x14\0\0\0\xff", "application/epub+zip"),
            ("letter.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "application/msword"),
            ("archive.zip", b"PK\x03\x04\x14\0\0\0\xff", "application/zip"),
            ("picture.zip.png", b"PK\x03\x04\x14\0\0\0\xff", "application/zip"),
            ("noise", b"\xff\x00\x01", "application/octet-stream"),
        ] {
            assert_eq!(media_type(Path::new(path), head), expected, "{path}");
        }
    }
}
