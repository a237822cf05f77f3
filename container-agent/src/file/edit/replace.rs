//! The edits themselves, from bytes to bytes.

use cabana_protocol::file::{MAX_CONTENT_BYTES, Replacement};
use memchr::memmem::Finder;

use super::super::nearest::Nearest;

/// Lines that are told of where a text is more than once.
const TOLD_LINES: usize = 10;

/// Why edits cannot be made. Edits count from 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is nothing to look for.
    Empty { edit: usize },
    /// Nothing would change.
    Same { edit: usize },
    /// The text is not there.
    Missing { edit: usize, nearest: Option<Nearest> },
    /// The text is there more than once: the lines where it begins, the first of them.
    Ambiguous { edit: usize, lines: Vec<usize> },
    /// The file would be larger than it may be.
    TooLarge,
}

/// Makes all the edits, one after the other; says how many texts were replaced.
pub(super) fn replace(mut content: Vec<u8>, edits: &[Replacement]) -> Result<(Vec<u8>, u64), Refusal> {
    let mut replacements = 0;
    for (edit, replacement) in edits.iter().enumerate() {
        let places = occurrences(&content, replacement, edit)?;
        content = put(&content, replacement, &places)?;
        replacements += places.len() as u64;
    }
    Ok((content, replacements))
}

/// Where the text is that an edit replaces.
fn occurrences(content: &[u8], replacement: &Replacement, edit: usize) -> Result<Vec<usize>, Refusal> {
    let Replacement { old, new, all } = replacement;
    if old.0.is_empty() {
        return Err(Refusal::Empty { edit });
    }
    if old == new {
        return Err(Refusal::Same { edit });
    }
    let finder = Finder::new(&old.0);
    if *all {
        let places: Vec<_> = finder.find_iter(content).collect();
        return if places.is_empty() { Err(missing(content, &old.0, edit)) } else { Ok(places) };
    }
    // Those that overlap are several, too: it would be left to chance which is meant.
    let next = |from: usize| Some(from + finder.find(content.get(from..)?)?);
    let mut places = std::iter::successors(next(0), |place| next(place + 1)).take(TOLD_LINES);
    let first = places.next().ok_or_else(|| missing(content, &old.0, edit))?;
    let others: Vec<_> = places.collect();
    if others.is_empty() {
        return Ok(vec![first]);
    }
    let lines = std::iter::once(first).chain(others).map(|place| line(content, place)).collect();
    Err(Refusal::Ambiguous { edit, lines })
}

fn missing(content: &[u8], old: &[u8], edit: usize) -> Refusal {
    Refusal::Missing { edit, nearest: Nearest::of(content, old) }
}

/// The line that a place is in; the first is 1.
fn line(content: &[u8], place: usize) -> usize {
    memchr::memchr_iter(b'\n', &content[..place]).count() + 1
}

/// The content with the new text at these places.
fn put(content: &[u8], replacement: &Replacement, places: &[usize]) -> Result<Vec<u8>, Refusal> {
    let (old, new) = (&replacement.old.0, &replacement.new.0);
    let size = content.len() - places.len() * old.len() + places.len() * new.len();
    if size as u64 > MAX_CONTENT_BYTES {
        return Err(Refusal::TooLarge);
    }
    let mut made = Vec::with_capacity(size);
    let mut done = 0;
    for place in places {
        made.extend_from_slice(&content[done..*place]);
        made.extend_from_slice(new);
        done = place + old.len();
    }
    made.extend_from_slice(&content[done..]);
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(edits: &[(&str, &str, bool)]) -> Vec<Replacement> {
        edits.iter().map(|(old, new, all)| Replacement { old: (*old).into(), new: (*new).into(), all: *all }).collect()
    }

    #[test]
    fn edits_follow_one_another() {
        for (content, made, expected) in [
            ("one two", edits(&[("one", "1", false)]), ("1 two", 1)),
            ("one two", edits(&[("one", "two", false), ("two two", "", false)]), ("", 2)),
            ("a.b.c", edits(&[(".", "::", true)]), ("a::b::c", 2)),
            ("aaaa", edits(&[("aa", "b", true)]), ("bb", 2)),
            ("a\r\nb", edits(&[("\r\n", "\n", false)]), ("a\nb", 1)),
            ("end", edits(&[("end", "end\n", false)]), ("end\n", 1)),
        ] {
            assert_eq!(replace(content.into(), &made), Ok((expected.0.into(), expected.1)), "{content:?}");
        }
    }

    #[test]
    fn edits_that_cannot_be_made_are_refused() {
        let large = "x".repeat(1 << 20);
        for (content, made, expected) in [
            ("a", edits(&[("a", "b", false), ("", "b", false)]), Refusal::Empty { edit: 1 }),
            ("a", edits(&[("a", "a", true)]), Refusal::Same { edit: 0 }),
            ("a\nb\na", edits(&[("a", "b", false)]), Refusal::Ambiguous { edit: 0, lines: vec![1, 3] }),
            ("aaa", edits(&[("aa", "b", false)]), Refusal::Ambiguous { edit: 0, lines: vec![1, 1] }),
            ("a", edits(&[("q", "b", true)]), Refusal::Missing { edit: 0, nearest: None }),
            ("aaaaaaaaa", edits(&[("a", &large, true)]), Refusal::TooLarge),
        ] {
            assert_eq!(replace(content.into(), &made), Err(expected), "{content:?}");
        }
        let many = replace("a\n".repeat(100).into(), &edits(&[("a", "b", false)]));
        assert!(matches!(many, Err(Refusal::Ambiguous { lines, .. }) if lines.len() == TOLD_LINES));
    }
}
