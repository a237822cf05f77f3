//! A command's whole conversation as one value.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{DEFAULT_OUTPUT_BYTES, Exec, ExecEvent, ExecResult, MAX_OUTPUT_BYTES};
use crate::{Data, Fold};

/// How a command ended and what it printed: the JSON form of `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecOutput {
    /// How it ended.
    #[serde(flatten)]
    pub result: ExecResult,
    /// Its standard output; where `truncated`, the first and last part of it, joined.
    pub stdout: Data,
    /// Its standard error, likewise.
    pub stderr: Data,
    /// True when it printed more than `max_output_bytes` on either.
    pub truncated: bool,
    /// How much it printed on stdout in all.
    pub stdout_bytes: u64,
    /// How much it printed on stderr in all.
    pub stderr_bytes: u64,
}

/// Gathers output up to a limit, keeping the head and the tail.
#[derive(Debug)]
pub struct OutputFold {
    stdout: Ends,
    stderr: Ends,
}

impl OutputFold {
    fn with_limit(bytes: u64) -> Self {
        let limit = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self { stdout: Ends::new(limit), stderr: Ends::new(limit) }
    }
}

impl Default for OutputFold {
    fn default() -> Self {
        Self::with_limit(DEFAULT_OUTPUT_BYTES)
    }
}

impl Fold<Exec> for OutputFold {
    type Output = ExecOutput;

    fn new(request: &Exec) -> Self {
        let limit = request.max_output_bytes.unwrap_or(DEFAULT_OUTPUT_BYTES).min(MAX_OUTPUT_BYTES);
        Self::with_limit(limit)
    }

    fn push(&mut self, event: ExecEvent) {
        match event {
            ExecEvent::Stdout { bytes, .. } => self.stdout.push(&bytes.0),
            ExecEvent::Stderr { bytes, .. } => self.stderr.push(&bytes.0),
            ExecEvent::Started { .. } | ExecEvent::Gap { .. } => {}
        }
    }

    fn finish(self, result: ExecResult) -> ExecOutput {
        let (stdout_bytes, stderr_bytes) = (self.stdout.total, self.stderr.total);
        let truncated = self.stdout.truncated() || self.stderr.truncated();
        ExecOutput { result, stdout: self.stdout.join(), stderr: self.stderr.join(), truncated, stdout_bytes, stderr_bytes }
    }
}

/// The two ends of a stream: at most `limit` bytes, of which the first half is kept for good and the rest is the newest.
#[derive(Debug)]
struct Ends {
    limit: usize,
    total: u64,
    head: Vec<u8>,
    /// Grows to twice its share before the older half is dropped, so that each byte is moved at most once.
    tail: Vec<u8>,
}

impl Ends {
    fn new(limit: usize) -> Self {
        Self { limit, total: 0, head: Vec::new(), tail: Vec::new() }
    }

    fn tail_limit(&self) -> usize {
        self.limit - self.limit / 2
    }

    fn truncated(&self) -> bool {
        self.total > self.limit as u64
    }

    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = (self.limit / 2).saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        let newest = &rest[rest.len().saturating_sub(self.tail_limit())..];
        if self.tail.len() + newest.len() > 2 * self.tail_limit() {
            let keep = self.tail_limit().saturating_sub(newest.len());
            self.tail.drain(..self.tail.len().saturating_sub(keep));
        }
        self.tail.extend_from_slice(newest);
    }

    fn join(mut self) -> Data {
        let truncated = self.truncated();
        self.tail.drain(..self.tail.len().saturating_sub(self.tail_limit()));
        if truncated {
            // A character cut in two would turn readable text into base64.
            let whole = self.head.len() - split_character(&self.head);
            self.head.truncate(whole);
            let torn = self.tail.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
            self.tail.drain(..torn);
        }
        self.head.append(&mut self.tail);
        Data(Bytes::from(self.head))
    }
}

/// How many bytes at the end are the beginning of a character that is not whole.
fn split_character(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(limit: usize, pieces: &[&str]) -> (String, bool) {
        let mut ends = Ends::new(limit);
        pieces.iter().for_each(|piece| ends.push(piece.as_bytes()));
        let truncated = ends.truncated();
        (String::from_utf8(ends.join().0.to_vec()).unwrap(), truncated)
    }

    #[test]
    fn head_and_tail_are_kept() {
        for (limit, pieces, text, truncated) in [
            (4, &["ab", "cd"][..], "abcd", false),
            (4, &["abcde"], "abde", true),
            (4, &["a", "b", "c", "d", "e", "f", "g"], "abfg", true),
            (5, &["abcdefghij"], "abhij", true),
            (0, &["abc"], "", true),
            (1, &["abc"], "c", true),
            (4, &[], "", false),
        ] {
            assert_eq!(kept(limit, pieces), (text.to_owned(), truncated), "{limit} {pieces:?}");
        }
    }

    #[test]
    fn a_cut_does_not_tear_characters() {
        let (text, truncated) = kept(10, &["\u{1f30a}\u{1f30a}\u{1f30a}\u{1f30a}"]);
        assert!(truncated);
        assert_eq!(text, "\u{1f30a}\u{1f30a}");
    }

    #[test]
    fn memory_stays_within_twice_the_limit() {
        let mut ends = Ends::new(1000);
        for _ in 0..10_000 {
            ends.push(&[b'x'; 77]);
            assert!(ends.head.len() + ends.tail.len() <= 2000);
        }
        assert_eq!(ends.total, 770_000);
        assert_eq!(ends.join().0.len(), 1000);
    }
}
