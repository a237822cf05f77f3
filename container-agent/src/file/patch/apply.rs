//! Hunks, from bytes to bytes.

use super::{
    super::nearest::Nearest,
    diff::{Hunk, Line},
};

/// Lines that are compared in search of the places of one request's hunks. Files of a few different lines could need the square of them.
const MAX_COMPARED: usize = 20_000_000;

/// What hunks have made of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) content: Vec<u8>,
    /// How many lines off the hunk stood that was furthest from where it said.
    pub(super) offset: usize,
}

/// Why hunks do not apply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HunkMismatch {
    /// Which hunk; the first is 1.
    pub(super) hunk: usize,
    pub(super) nearest: Option<Nearest>,
}

/// Applies all the hunks, one below the other. Each is looked for where it says, moved as the one above was, and from there on further
/// and further away.
///
/// `compared` counts the lines that all of one request's hunks are compared with.
pub(super) fn apply(content: &[u8], hunks: &[Hunk<'_>], compared: &mut usize) -> Result<Applied, HunkMismatch> {
    let lines: Vec<_> = content.split_inclusive(|byte| *byte == b'\n').collect();
    let mut made = Vec::with_capacity(content.len());
    let (mut done, mut drift, mut offset) = (0, 0_isize, 0);
    for (index, hunk) in hunks.iter().enumerate() {
        let old: Vec<_> = hunk.lines.iter().filter_map(|line| line.before()).collect();
        let expected = hunk.before.saturating_add_signed(drift);
        let place = find_position(&lines, &old, done, expected, compared);
        let place = place.ok_or_else(|| HunkMismatch { hunk: index + 1, nearest: Nearest::of(content, &old.concat()) })?;
        lines[done..place].iter().for_each(|line| made.extend_from_slice(line));
        hunk.lines.iter().filter_map(|line: &Line<'_>| line.after()).for_each(|line| made.extend_from_slice(line));
        done = place + old.len();
        drift = place.cast_signed() - hunk.before.cast_signed();
        offset = offset.max(drift.unsigned_abs());
    }
    lines[done..].iter().for_each(|line| made.extend_from_slice(line));
    Ok(Applied { content: made, offset })
}

/// Where these lines are, not above `first`, and as near to `expected` as can be.
fn find_position(lines: &[&[u8]], old: &[&[u8]], first: usize, expected: usize, compared: &mut usize) -> Option<usize> {
    let last = lines.len().checked_sub(old.len()).filter(|last| *last >= first)?;
    if old.is_empty() {
        // Nothing tells where it belongs but the number itself.
        return (first..=last).contains(&expected).then_some(expected);
    }
    let nearest = expected.clamp(first, last);
    let distances = 0..=(last - nearest).max(nearest - first);
    let places = distances.flat_map(|distance| [nearest.checked_sub(distance), Some(nearest + distance)]).flatten();
    for place in places.filter(|place| (first..=last).contains(place)) {
        let alike = lines[place..].iter().zip(old).take_while(|(line, old)| line == old).count();
        *compared += alike + 1;
        if alike == old.len() {
            return Some(place);
        }
        if *compared > MAX_COMPARED {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{super::diff, *};

    fn applied(content: &str, hunks: &str) -> Result<(String, usize), usize> {
        let diff = format!("--- a/f\n+++ b/f\n{hunks}");
        let files = diff::read(diff.as_bytes(), None).unwrap();
        match apply(content.as_bytes(), &files[0].hunks, &mut 0) {
            Ok(Applied { content, offset }) => Ok((String::from_utf8(content).unwrap(), offset)),
            Err(mismatch) => Err(mismatch.hunk),
        }
    }

    #[test]
    fn hunks_apply_where_they_fit() {
        let ten = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n";
        let moved = format!("a\nb\nc\n{ten}");
        let block = "x\n{\n}\n";
        for (name, content, hunks, expected) in [
            ("replace", ten, "@@ -2,3 +2,3 @@\n 2\n-3\n+three\n 4\n", Ok((ten.replace("3\n", "three\n"), 0))),
            (
                "two",
                ten,
                "@@ -1,2 +1 @@\n-1\n 2\n@@ -9,2 +8,3 @@\n 9\n 10\n+11\n",
                Ok(("2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n".to_owned(), 0)),
            ),
            ("moved", &moved, "@@ -2,2 +2 @@\n 2\n-3\n", Ok((moved.replace("3\n", ""), 3))),
            ("create", "", "@@ -0,0 +1,2 @@\n+a\n+b\n", Ok(("a\nb\n".to_owned(), 0))),
            ("delete", "a\nb\n", "@@ -1,2 +0,0 @@\n-a\n-b\n", Ok((String::new(), 0))),
            ("insert without context", ten, "@@ -2,0 +3 @@\n+x\n", Ok((ten.replace("2\n3", "2\nx\n3"), 0))),
            ("insert beyond the end", ten, "@@ -20,0 +21 @@\n+x\n", Err(1)),
            ("gain a line break", "a\nb", "@@ -2 +2 @@\n-b\n\\ No newline at end of file\n+b\n", Ok(("a\nb\n".to_owned(), 0))),
            ("lose a line break", "a\nb\n", "@@ -2 +2 @@\n-b\n+b\n\\ No newline at end of file\n", Ok(("a\nb".to_owned(), 0))),
            ("a line break that is not there", "a\nb", "@@ -2 +2 @@\n-b\n+c\n", Err(1)),
            ("carriage returns count", "a\r\n", "@@ -1 +1 @@\n-a\n+b\n", Err(1)),
            ("the second does not fit", ten, "@@ -1 +1 @@\n-1\n+x\n@@ -5 +5 @@\n-50\n+y\n", Err(2)),
            ("not above the first", ten, "@@ -5 +5 @@\n-5\n+x\n@@ -7 +7 @@\n-3\n+y\n", Err(2)),
        ] {
            assert_eq!(applied(content, hunks), expected, "{name}");
        }
        // Of many places the nearest one, moved as the hunk above was.
        let content = format!("new\n{block}{block}1\n{block}{block}");
        let hunks = "@@ -4 +4 @@\n-1\n+one\n@@ -8,3 +8,3 @@\n x\n {\n-}\n+} // here\n";
        let expected = format!("new\n{block}{block}one\n{block}x\n{{\n}} // here\n");
        assert_eq!(applied(&content, hunks), Ok((expected, 4)));
    }

    #[test]
    fn the_search_ends() {
        let content = "a\n".repeat(200_000);
        let hunk = format!("@@ -1,100001 +1,100000 @@\n{}-b\n", " a\n".repeat(100_000));
        assert_eq!(applied(&content, &hunk), Err(1));
    }
}
