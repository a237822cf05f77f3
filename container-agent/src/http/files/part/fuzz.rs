//! Fuzzing of ranges.
#![allow(clippy::unwrap_used, reason = "a property that does not hold is told by a panic")]

use super::*;

/// A file's size, a line break, and a Range field: what is served is a part of the file, the very one that is asked for, and says so.
pub fn range(bytes: &[u8]) {
    let Some((size, field)) = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n')) else { return };
    let Ok(size) = size.parse() else { return };
    let part = Part::of_range(field, size);
    let (first, length) = part.bytes(size);
    assert!(first.checked_add(length).is_some_and(|end| end <= size), "{part:?}");
    match asked(field) {
        Some(range) if range.is_possible(size) => assert_eq!(part, range.part(size)),
        Some(_) => assert_eq!(part, Part::Unsatisfiable),
        None => assert_eq!(part, Part::Whole),
    }
    if let Part::Range { first, length } = part {
        assert_eq!(Part::of_range(&format!("bytes={first}-{}", first + length - 1), size), part);
        assert_eq!(part.content_range(size).unwrap(), format!("bytes {first}-{}/{size}", first + length - 1));
    }
}

/// What RFC 9110 lets a client ask for.
enum Asked {
    From(u64, Option<u64>),
    Last(u64),
}

/// The one range that a field asks for, by the grammar of section 14.1.1; white space may surround it.
fn asked(field: &str) -> Option<Asked> {
    let grammar = regex::Regex::new(r"^(?i:bytes)=\s*([0-9]*)-([0-9]*)\s*$").unwrap();
    let numbers = grammar.captures(field)?;
    let number = |index: usize| if numbers[index].is_empty() { Some(None) } else { numbers[index].parse().ok().map(Some) };
    match (number(1)?, number(2)?) {
        (Some(first), last) => last.is_none_or(|last| first <= last).then_some(Asked::From(first, last)),
        (None, Some(length)) => Some(Asked::Last(length)),
        (None, None) => None,
    }
}

impl Asked {
    /// Whether a file of this size has any byte of it.
    fn is_possible(&self, size: u64) -> bool {
        match self {
            Self::From(first, _) => *first < size,
            Self::Last(length) => *length > 0 && size > 0,
        }
    }

    fn part(&self, size: u64) -> Part {
        match *self {
            Self::From(first, last) => {
                Part::Range { first, length: last.map_or(size, |last| size.min(last.saturating_add(1))) - first }
            }
            Self::Last(length) => Part::Range { first: size - length.min(size), length: length.min(size) },
        }
    }
}
