//! What comes closest to a text that is not there, for whoever looked for it to see why.

use std::collections::HashMap;

use serde_json::{Value, json};

/// Lines that are looked at.
const MAX_LINES: usize = 50_000;

/// Places that one line of the text may be found at; one that is everywhere tells little.
const MAX_PLACES: usize = 16;

/// Lines that are compared in every detail.
const COMPARED: usize = 16;

/// How alike two lines are at least that are worth showing.
const ALIKE: f32 = 0.6;

/// Lines that are shown.
const SHOWN_LINES: usize = 20;

/// What is shown, and compared, of one line.
const SHOWN_CHARACTERS: usize = 200;

/// What comes closest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nearest {
    /// Where it begins; the first line is 1.
    line: usize,
    /// What is there.
    found: String,
    /// The lines that differ: with `-` those that were looked for, with `+` those that are there.
    differences: String,
}

impl Nearest {
    /// What in the content comes closest to this text, if anything does: the place where most of its lines are, or one line that is
    /// alike.
    pub(super) fn of(content: &[u8], text: &[u8]) -> Option<Self> {
        let there: Vec<_> = content.split_inclusive(|byte| *byte == b'\n').take(MAX_LINES).collect();
        let wanted: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').take(MAX_LINES).collect();
        let start = by_lines(&there, &wanted).or_else(|| by_likeness(&there, &wanted))?;
        let shown = |lines: &[&[u8]]| lines.iter().take(SHOWN_LINES).map(|line| cut(line)).collect::<Vec<_>>();
        let end = there.len().min(start + wanted.len());
        let (found, wanted) = (shown(&there[start..end]), shown(&wanted));
        Some(Self { line: start + 1, differences: differences(&wanted, &found), found: found.concat() })
    }

    /// For the message: where it is, and what differs.
    pub(super) fn message(&self) -> String {
        format!("; the closest text begins at line {} and differs (- expected, + found):{}", self.line, self.differences)
    }

    /// For the details.
    pub(super) fn details(&self) -> Value {
        json!({ "line": self.line, "closest": self.found })
    }
}

/// The lines that differ, a line each, behind its sign.
fn differences(wanted: &[String], found: &[String]) -> String {
    let (mut shown, mut expected, mut there) = (String::new(), 0, 0);
    let ends = (wanted.len(), found.len());
    for (index, place) in common(wanted, found).into_iter().chain([ends]) {
        wanted[expected..index].iter().for_each(|line| shown += &format!("\n- {line:?}"));
        found[there..place].iter().for_each(|line| shown += &format!("\n+ {line:?}"));
        (expected, there) = (index + 1, place + 1);
    }
    shown
}

/// The longest sequence that both have in common: the places of each of its elements. Takes as long as the product of both lengths, which
/// are small here. A crate that compares large files better is a megabyte of program.
fn common<T: PartialEq>(one: &[T], other: &[T]) -> Vec<(usize, usize)> {
    let width = other.len() + 1;
    // Of each pair of places, how long the sequence is from there on.
    let mut lengths = vec![0_u16; (one.len() + 1) * width];
    for (index, element) in one.iter().enumerate().rev() {
        for (place, candidate) in other.iter().enumerate().rev() {
            let (without_one, without_other) = (lengths[(index + 1) * width + place], lengths[index * width + place + 1]);
            let both = lengths[(index + 1) * width + place + 1] + 1;
            lengths[index * width + place] = if element == candidate { both } else { without_one.max(without_other) };
        }
    }
    let (mut pairs, mut index, mut place) = (Vec::new(), 0, 0);
    while index < one.len() && place < other.len() {
        if one[index] == other[place] {
            pairs.push((index, place));
            (index, place) = (index + 1, place + 1);
        } else if lengths[(index + 1) * width + place] >= lengths[index * width + place + 1] {
            index += 1;
        } else {
            place += 1;
        }
    }
    pairs
}

/// As much of a line as is shown.
fn cut(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(SHOWN_CHARACTERS).collect()
}

/// Where most of the lines are, whatever white space is around them. A long line counts for more than a short one.
fn by_lines(there: &[&[u8]], wanted: &[&[u8]]) -> Option<usize> {
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (index, line) in wanted.iter().enumerate() {
        let places = places.entry(line.trim_ascii()).or_default();
        if !line.trim_ascii().is_empty() && places.len() < MAX_PLACES {
            places.push(index);
        }
    }
    // Where the text would begin, as seen from each line that is both here and there.
    let mut votes: HashMap<usize, usize> = HashMap::new();
    for (index, line) in there.iter().enumerate() {
        for place in places.get(line.trim_ascii()).into_iter().flatten() {
            *votes.entry(index.saturating_sub(*place)).or_default() += line.trim_ascii().len().min(SHOWN_CHARACTERS);
        }
    }
    votes.into_iter().max_by_key(|(start, weight)| (*weight, std::cmp::Reverse(*start))).map(|(start, _)| start)
}

/// Where a line is that is like the longest of them.
fn by_likeness(there: &[&[u8]], wanted: &[&[u8]]) -> Option<usize> {
    let (offset, longest) =
        wanted.iter().enumerate().max_by_key(|(index, line)| (line.trim_ascii().len(), std::cmp::Reverse(*index)))?;
    let counts = count(longest);
    let mut candidates: Vec<_> = there.iter().enumerate().map(|(index, line)| (likeness(&counts, &count(line)), index)).collect();
    candidates.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    candidates.truncate(COMPARED);
    let longest: Vec<char> = cut(longest.trim_ascii()).chars().collect();
    let exact = |index: usize| ratio(&longest, &cut(there[index].trim_ascii()).chars().collect::<Vec<_>>());
    let best = candidates.into_iter().map(|(_, index)| (exact(index), index)).max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(ratio, _)| *ratio >= ALIKE).map(|(_, index)| index.saturating_sub(offset))
}

/// How much of two lines is common to both: from 0 to 1.
fn ratio(one: &[char], other: &[char]) -> f32 {
    let share = |count: usize| f32::from(u16::try_from(count).unwrap_or(u16::MAX));
    2.0 * share(common(one, other).len()) / share(one.len() + other.len()).max(1.0)
}

/// How often each byte is in a line.
fn count(line: &[u8]) -> [u16; 256] {
    let mut counts = [0; 256];
    line.trim_ascii().iter().take(SHOWN_CHARACTERS).for_each(|byte| counts[usize::from(*byte)] += 1);
    counts
}

/// How alike two lines are at most, going by their bytes in whatever order: from 0 to 1.
fn likeness(one: &[u16; 256], other: &[u16; 256]) -> f32 {
    let sum = |counts: &[u16; 256]| counts.iter().map(|count| f32::from(*count)).sum::<f32>();
    let common: f32 = one.iter().zip(other).map(|(one, other)| f32::from(*one.min(other))).sum();
    2.0 * common / (sum(one) + sum(other)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &str =
        "fn main() {\n    let one = 1;\n    let two = 2;\n    print(one + two);\n}\n\nfn other() {\n    let two = 3;\n}\n";

    #[test]
    fn the_closest_place_is_shown_with_what_differs() {
        for (text, nearest) in [
            ("    let one = 1;\n    let two = 7;\n", Some((2, "\n- \"    let two = 7;\\n\"\n+ \"    let two = 2;\\n\""))),
            ("\tlet two = 3;\n}\n", Some((8, "\n- \"\\tlet two = 3;\\n\"\n+ \"    let two = 3;\\n\""))),
            ("print(one + tow)", Some((4, "\n- \"print(one + tow)\"\n+ \"    print(one + two);\\n\""))),
            ("fn other() {\r\n", Some((7, "\n- \"fn other() {\\r\\n\"\n+ \"fn other() {\\n\""))),
            ("something else altogether, which is nowhere", None),
            ("", None),
        ] {
            let found = Nearest::of(CONTENT.as_bytes(), text.as_bytes());
            assert_eq!(found.as_ref().map(|near| (near.line, near.differences.as_str())), nearest, "{text:?}");
        }
        assert_eq!(Nearest::of(b"", b"x"), None);
    }

    #[test]
    fn common_elements_stand_in_the_order_of_both() {
        for (one, other, expected) in [
            ("", "", ""),
            ("abc", "", ""),
            ("abc", "abc", "abc"),
            ("abcabba", "cbabac", "cbba"),
            ("xay", "ayb", "ay"),
            ("ab", "ba", "b"),
        ] {
            let (one, other): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
            let pairs = common(&one, &other);
            assert!(pairs.iter().all(|(index, place)| one[*index] == other[*place]));
            assert_eq!(pairs.iter().map(|(index, _)| one[*index]).collect::<String>(), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let content = format!("{}\n", "é".repeat(10_000)).repeat(1_000);
        let text = format!("{}\nx\n", "é".repeat(9_999)).repeat(1_000);
        let near = Nearest::of(content.as_bytes(), text.as_bytes()).unwrap();
        assert!(near.found.chars().count() <= SHOWN_LINES * SHOWN_CHARACTERS);
        assert!(near.message().lines().count() <= 2 * SHOWN_LINES + 1);
    }
}
