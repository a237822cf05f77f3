//! Finding lines in content, however large it is.

use std::io::{self, BufRead};

use cabana_protocol::file::Lines;

/// Lines that were found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// What they hold, with their line breaks.
    pub(super) content: Vec<u8>,
    /// Where they begin, in bytes; where there are none, where the content ends.
    pub(super) offset: u64,
    /// Which they are, if there are any.
    pub(super) lines: Option<Lines>,
}

/// Reads these lines, or nothing where they take more than `limit` bytes. What comes before them is read and forgotten.
pub(super) fn find(mut content: impl BufRead, wanted: Lines, limit: usize) -> io::Result<Option<Found>> {
    let mut found = Found::default();
    let mut line = 1;
    while line < wanted.from {
        match skip_line(&mut content)? {
            0 => return Ok(Some(found)),
            length => found.offset += length,
        }
        line += 1;
    }
    while wanted.to.is_none_or(|to| line <= to) {
        let room = (limit - found.content.len()) as u64 + 1;
        let length = io::Read::take(&mut content, room).read_until(b'\n', &mut found.content)?;
        if length == 0 {
            break;
        }
        if found.content.len() > limit {
            return Ok(None);
        }
        found.lines = Some(Lines { from: wanted.from, to: Some(line) });
        line += 1;
    }
    Ok(Some(found))
}

/// Goes past the next line, which may be larger than memory; says how long it is.
fn skip_line(content: &mut impl BufRead) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let buffer = content.fill_buf()?;
        let (piece, ends) = match memchr::memchr(b'\n', buffer) {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        content.consume(piece);
        length += piece as u64;
        if ends {
            return Ok(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_are_found_with_their_breaks() {
        for (content, from, to, expected) in [
            ("one\ntwo\nend", 1, None, None),
            ("one\ntwo\nen", 1, None, Some(("one\ntwo\nen", 0, Some((1, 3))))),
            ("one\ntwo\nend", 2, Some(2), Some(("two\n", 4, Some((2, 2))))),
            ("one\ntwo\nend", 3, Some(9), Some(("end", 8, Some((3, 3))))),
            ("one\ntwo\n", 3, None, Some(("", 8, None))),
            ("one\ntwo\n", 9, Some(12), Some(("", 8, None))),
            ("\n\n\n", 2, Some(3), Some(("\n\n", 1, Some((2, 3))))),
            ("\r\nx", 1, Some(1), Some(("\r\n", 0, Some((1, 1))))),
            ("", 1, None, Some(("", 0, None))),
            ("more than ten bytes", 1, Some(1), None),
            ("more than ten bytes\nx", 2, Some(2), Some(("x", 20, Some((2, 2))))),
        ] {
            let expected = expected.map(|(text, offset, lines): (&str, u64, Option<(u64, u64)>)| Found {
                content: text.into(),
                offset,
                lines: lines.map(|(from, to)| Lines { from, to: Some(to) }),
            });
            // A buffer that is smaller than a line.
            let buffer = BufReader::with_capacity(2, content.as_bytes());
            assert_eq!(find(buffer, Lines { from, to }, 10).unwrap(), expected, "{content:?} {from} {to:?}");
        }
    }
}
