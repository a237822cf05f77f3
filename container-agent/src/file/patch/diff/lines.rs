//! The lines of a diff, one after the other.

use super::{Line, Malformed};

/// Where reading has come to.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    lines: Vec<&'a [u8]>,
    next: usize,
    /// A hunk has ended right before, or before lines that look like its own.
    follows_hunk: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(diff: &'a [u8]) -> Self {
        Self { lines: diff.split_inclusive(|byte| *byte == b'\n').collect(), next: 0, follows_hunk: false }
    }

    /// The next line.
    pub(super) fn peek(&self) -> Option<&'a [u8]> {
        self.lines.get(self.next).copied()
    }

    /// The one after it.
    pub(super) fn peek_second(&self) -> Option<&'a [u8]> {
        self.lines.get(self.next + 1).copied()
    }

    /// Goes past the next line.
    pub(super) fn pass(&mut self) -> &'a [u8] {
        let line = self.peek().unwrap_or_default();
        self.next += 1;
        self.follows_hunk = false;
        line
    }

    pub(super) fn follows_hunk(&self) -> bool {
        self.follows_hunk
    }

    pub(super) fn end_hunk(&mut self) {
        self.follows_hunk = true;
    }

    /// Where the next line says that the one before has no line break, takes it away and goes past it.
    pub(super) fn drop_break(&mut self, lines: &mut [Line<'a>]) -> bool {
        match (self.peek(), lines.last_mut()) {
            (Some([b'\\', ..]), Some(last)) => {
                *last = last.unbroken();
                self.next += 1;
                true
            }
            _ => false,
        }
    }

    /// An error about the next line.
    pub(super) fn malformed(&self, why: &'static str) -> Malformed {
        Malformed { line: self.next + 1, why }
    }
}

/// A line without its break.
pub(super) fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
