//! Fuzzing of unified diffs.
#![allow(clippy::unwrap_used, reason = "a property that does not hold is told by a panic")]

use similar::TextDiff;

use super::{
    apply::apply,
    diff::{self, Change, FileDiff, Hunk},
};

/// Lines around a change that are shown, from none to more than usual.
const CONTEXTS: [usize; 3] = [0, 1, 3];

/// Two texts and a diff, with a NUL between them: the diff between the texts makes the one of the other, and the given one, if it is a diff
/// and applies to the first text, changes nothing that it does not say.
pub fn patch(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let [old, new, diff] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    if let (Ok(old), Ok(new)) = (std::str::from_utf8(old), std::str::from_utf8(new)) {
        CONTEXTS.into_iter().for_each(|context| make(old, new, context));
    }
    for strip in [None, Some(0), Some(1)] {
        match diff::read(diff, strip) {
            Ok(files) => files.iter().for_each(|file| check(old, file)),
            Err(malformed) => assert!((1..=lines(diff) + 1).contains(&malformed.line()), "{malformed}"),
        }
    }
}

fn make(old: &str, new: &str, context: usize) {
    // The crate that compares breaks lines at these, too, and diff does not.
    if old == new || old.contains('\r') || new.contains('\r') {
        return;
    }
    let diff = TextDiff::from_lines(old, new).unified_diff().context_radius(context).header("a/f", "b/f").to_string();
    let files = diff::read(diff.as_bytes(), None).unwrap();
    assert_eq!(files.iter().map(|file| &file.change).collect::<Vec<_>>(), [&Change::Modify { path: b"f".to_vec() }]);
    let applied = apply(old.as_bytes(), &files[0].hunks, &mut 0).unwrap();
    assert_eq!((applied.content, applied.offset), (new.into(), 0), "{diff}");
}

fn check(old: &[u8], file: &FileDiff<'_>) {
    let Ok(applied) = apply(old, &file.hunks, &mut 0) else { return };
    let (removed, added) = file.hunks.iter().map(counts).fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
    assert_eq!(applied.content.len() + removed, old.len() + added);
    if applied.offset == 0 {
        assert_eq!(applied.content, in_place(old, &file.hunks));
    }
}

/// Bytes that a hunk takes away, and that it adds.
fn counts(hunk: &Hunk<'_>) -> (usize, usize) {
    let length = |lines: &mut dyn Iterator<Item = &[u8]>| lines.map(<[u8]>::len).sum();
    (
        length(&mut hunk.lines.iter().filter_map(|line| line.before())),
        length(&mut hunk.lines.iter().filter_map(|line| line.after())),
    )
}

/// What becomes of a text when each hunk stands exactly where it says.
fn in_place(old: &[u8], hunks: &[Hunk<'_>]) -> Vec<u8> {
    let mut lines: Vec<_> = old.split_inclusive(|byte| *byte == b'\n').collect();
    for hunk in hunks.iter().rev() {
        let before: Vec<_> = hunk.lines.iter().filter_map(|line| line.before()).collect();
        let replaced = lines.splice(hunk.before..hunk.before + before.len(), hunk.lines.iter().filter_map(|line| line.after()));
        assert!(replaced.eq(before));
    }
    lines.concat()
}

fn lines(diff: &[u8]) -> usize {
    diff.split_inclusive(|byte| *byte == b'\n').count()
}
