//! Hunks and their lines.

use super::{Malformed, lines::Cursor};

/// A run of lines that are to become others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::file::patch) struct Hunk<'a> {
    /// How many lines of the file come before it, as far as the diff knows.
    pub(in crate::file::patch) before: usize,
    pub(in crate::file::patch) lines: Vec<Line<'a>>,
}

/// A line of a hunk, with its line break if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::file::patch) enum Line<'a> {
    Context(&'a [u8]),
    Removed(&'a [u8]),
    Added(&'a [u8]),
}

impl<'a> Hunk<'a> {
    /// Reads one from its ranges on.
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let ranges =
            cursor.peek().and_then(ranges).ok_or_else(|| cursor.malformed("a hunk begins with @@ -line,count +line,count @@"))?;
        let ((start, mut removed), (_, mut added)) = ranges;
        cursor.pass();
        // Of nothing, the line before is told.
        let before = if removed == 0 { start } else { start.saturating_sub(1) };
        let mut lines = Vec::new();
        while removed > 0 || added > 0 {
            let line = cursor.peek().ok_or_else(|| cursor.malformed("the diff ends within a hunk"))?;
            if !cursor.drop_break(&mut lines) {
                let line =
                    Line::of(line).ok_or_else(|| cursor.malformed("it is no line of a hunk, and the hunk is not complete"))?;
                let short = || cursor.malformed("the hunk has more lines than it says");
                if !matches!(line, Line::Added(_)) {
                    removed = removed.checked_sub(1).ok_or_else(short)?;
                }
                if !matches!(line, Line::Removed(_)) {
                    added = added.checked_sub(1).ok_or_else(short)?;
                }
                lines.push(line);
                cursor.pass();
            }
        }
        cursor.drop_break(&mut lines);
        cursor.end_hunk();
        Ok(Self { before, lines })
    }
}

type Range = (usize, usize);

/// The two ranges of a hunk's first line. The heading behind them may be any bytes.
fn ranges(line: &[u8]) -> Option<(Range, Range)> {
    let end = memchr::memmem::find(line, b" @@")?;
    let (old, new) = std::str::from_utf8(&line[..end]).ok()?.strip_prefix("@@ -")?.split_once(" +")?;
    // Numbers that are sums of lines: none is near what a usize holds.
    let number = |text: &str| text.parse::<u32>().ok().map(|number| number as usize);
    let range = |text: &str| match text.split_once(',') {
        Some((start, count)) => Some((number(start)?, number(count)?)),
        None => Some((number(text)?, 1)),
    };
    Some((range(old)?, range(new)?))
}

impl<'a> Line<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        match line.split_first()? {
            (b' ', rest) => Some(Self::Context(rest)),
            (b'-', rest) => Some(Self::Removed(rest)),
            (b'+', rest) => Some(Self::Added(rest)),
            // Editors and mailers take away a space at the end of a line.
            (b'\n', _) => Some(Self::Context(line)),
            (b'\r', b"\n") => Some(Self::Context(line)),
            _ => None,
        }
    }

    /// The same without its line break.
    pub(super) fn unbroken(self) -> Self {
        let cut = |line: &'a [u8]| line.strip_suffix(b"\n").unwrap_or(line);
        match self {
            Self::Context(line) => Self::Context(cut(line)),
            Self::Removed(line) => Self::Removed(cut(line)),
            Self::Added(line) => Self::Added(cut(line)),
        }
    }

    /// What the file says there before, if the line is in it.
    pub(in crate::file::patch) fn before(self) -> Option<&'a [u8]> {
        match self {
            Self::Context(line) | Self::Removed(line) => Some(line),
            Self::Added(_) => None,
        }
    }

    /// What it says afterwards.
    pub(in crate::file::patch) fn after(self) -> Option<&'a [u8]> {
        match self {
            Self::Context(line) | Self::Added(line) => Some(line),
            Self::Removed(_) => None,
        }
    }
}
