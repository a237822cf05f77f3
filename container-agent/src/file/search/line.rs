//! What is shown of a line.

use bytes::Bytes;
use cabana_protocol::{
    Data,
    file::{MatchLine, Span},
};

/// The most that is shown of one line.
const SHOWN_BYTES: usize = 1_024;

/// What is shown before the first match of a line that is too long.
const BEFORE_BYTES: usize = 256;

/// The most matches that are told of one line.
pub(super) const MAX_MATCHES: usize = 100;

/// A line as it is shown: whole, or the part around its first match. `matches` are where in the line something matches.
pub(super) fn shown(line: u64, whole: &[u8], matches: &[(usize, usize)]) -> MatchLine {
    let whole = whole.strip_suffix(b"\n").unwrap_or(whole);
    let first = matches.first().map_or(0, |(start, _)| *start);
    let start = if whole.len() <= SHOWN_BYTES { 0 } else { character(whole, first.saturating_sub(BEFORE_BYTES)) };
    let end = if whole.len() - start <= SHOWN_BYTES { whole.len() } else { character(whole, start + SHOWN_BYTES) };
    let clip = |position: usize| (position.clamp(start, end) - start) as u64;
    let seen = matches.iter().filter(|(from, _)| (start..=end).contains(from));
    MatchLine {
        line,
        text: Data(Bytes::copy_from_slice(&whole[start..end])),
        offset: start as u64,
        matches: seen.map(|(from, to)| Span { start: clip(*from), end: clip(*to) }).collect(),
    }
}

/// The position, or the beginning of the character that it is in: a text that is cut within one is not text any more.
fn character(text: &[u8], position: usize) -> usize {
    let back = (0..=3.min(position)).find(|back| text[position - back] & 0b1100_0000 != 0b1000_0000);
    position - back.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_around_its_first_match() {
        let long = "é".repeat(5_000);
        let binary = vec![0x80; 5_000];
        for (name, whole, matches, offset, length, spans) in [
            ("short", b"one two\n".as_slice(), vec![(4, 7)], 0, 7, vec![(4, 7)]),
            ("carriage return", b"one\r\n", vec![(0, 3)], 0, 4, vec![(0, 3)]),
            ("no break", b"one", vec![(0, 0)], 0, 3, vec![(0, 0)]),
            ("empty", b"\n", vec![(0, 0)], 0, 0, vec![(0, 0)]),
            ("context", long.as_bytes(), vec![], 0, 1_024, vec![]),
            ("near the start", long.as_bytes(), vec![(10, 12), (9_000, 9_002)], 0, 1_024, vec![(10, 12)]),
            ("within a character", long.as_bytes(), vec![(4_001, 4_003)], 3_744, 1_024, vec![(257, 259)]),
            ("near the end", long.as_bytes(), vec![(9_998, 10_000)], 9_742, 258, vec![(256, 258)]),
            ("longer than shown", long.as_bytes(), vec![(1_000, 9_000)], 744, 1_024, vec![(256, 1_024)]),
            ("binary", &binary, vec![(4_000, 4_001)], 3_744, 1_024, vec![(256, 257)]),
        ] {
            let line = shown(1, whole, &matches);
            assert_eq!((line.offset, line.text.0.len()), (offset, length), "{name}");
            assert_eq!(line.matches.iter().map(|span| (span.start, span.end)).collect::<Vec<_>>(), spans, "{name}");
        }
    }
}
