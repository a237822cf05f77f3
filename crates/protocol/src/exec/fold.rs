//! A command's whole conversation as one value.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use super::{DEFAULT_OUTPUT_BYTES, Exec, ExecEvent, ExecResult, MAX_OUTPUT_BYTES};
use crate::{Data, Fold};

/// What the kept part of a stream may take in JSON, whatever `max_output_bytes` is: six bytes for each of its default.
const LEAST_ENCODED_BYTES: usize = 6 * DEFAULT_OUTPUT_BYTES as usize;

/// How a command ended and what it printed: the JSON form of `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecOutput {
    /// How it ended.
    #[serde(flatten)]
    pub result: ExecResult,
    /// Its standard output; where `truncated`, the first and last part of it, with a line between them that says how much was left out.
    /// This field and those below are absent for a detached one which runs on and has printed nothing while the answer waited.
    #[serde(default)]
    pub stdout: Data,
    /// Its standard error, likewise.
    #[serde(default)]
    pub stderr: Data,
    /// True when it printed more on either than is kept, see `max_output_bytes`.
    #[serde(default)]
    pub truncated: bool,
    /// How much it printed on stdout in all.
    #[serde(default)]
    pub stdout_bytes: u64,
    /// How much it printed on stderr in all.
    #[serde(default)]
    pub stderr_bytes: u64,
}

impl Serialize for ExecOutput {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Output<'a> {
            stdout: &'a Data,
            stderr: &'a Data,
            truncated: bool,
            stdout_bytes: u64,
            stderr_bytes: u64,
        }
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(flatten)]
            result: &'a ExecResult,
            #[serde(flatten)]
            output: Option<Output<'a>>,
        }
        let Self { result, stdout, stderr, truncated, stdout_bytes, stderr_bytes } = self;
        let output = Output { stdout, stderr, truncated: *truncated, stdout_bytes: *stdout_bytes, stderr_bytes: *stderr_bytes };
        let is_shown = result.exit.is_some() || *stdout_bytes + *stderr_bytes > 0;
        Shown { result, output: is_shown.then_some(output) }.serialize(serializer)
    }
}

/// What stands where so many bytes of a text were left out.
pub fn omission(bytes: u64) -> String {
    format!("\n[{bytes} bytes left out]\n")
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
            ExecEvent::Started { .. } | ExecEvent::Gap { .. } | ExecEvent::Screen { .. } => {}
        }
    }

    fn size(&self) -> usize {
        self.stdout.size() + self.stderr.size()
    }

    fn freeze(&mut self) {
        self.stdout.freeze();
        self.stderr.freeze();
    }

    fn finish(self, result: ExecResult) -> ExecOutput {
        let (stdout_bytes, stderr_bytes) = (self.stdout.total, self.stderr.total);
        let truncated = self.stdout.truncated() || self.stderr.truncated();
        ExecOutput { result, stdout: self.stdout.join(), stderr: self.stderr.join(), truncated, stdout_bytes, stderr_bytes }
    }
}

/// The two ends of a stream: at most `limit` bytes, of which the first half is kept for good and the rest is the newest. Neither half
/// takes more than its share of what the limit may take in JSON.
#[derive(Debug)]
pub(crate) struct Ends {
    head: Half,
    tail: Half,
    total: u64,
}

/// Bytes, and what bounds them.
#[derive(Debug)]
struct Half {
    bytes: VecDeque<u8>,
    limit: usize,
    /// What the bytes take in JSON, as text.
    encoded: usize,
    encoded_limit: usize,
}

impl Ends {
    /// Of at most so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        let encoded_limit = limit.saturating_mul(2).max(LEAST_ENCODED_BYTES) / 2;
        let half = |limit| Half { bytes: VecDeque::new(), limit, encoded: 0, encoded_limit };
        Self { head: half(limit / 2), tail: half(limit - limit / 2), total: 0 }
    }

    /// Whether something was left out.
    pub(crate) fn truncated(&self) -> bool {
        self.total > (self.head.bytes.len() + self.tail.bytes.len()) as u64
    }

    /// Takes more of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // The head is complete once anything has come behind it.
        let rest = if self.total == self.head.bytes.len() as u64 { self.head.fill(bytes) } else { bytes };
        self.total += bytes.len() as u64;
        self.tail.slide(rest);
    }

    /// What is held, and at most what it takes in JSON: text with its escapes, or base64.
    pub(crate) fn size(&self) -> usize {
        let held = self.head.bytes.len() + self.tail.bytes.len();
        held + (self.head.encoded + self.tail.encoded).max(held.div_ceil(3) * 4)
    }

    /// Keeps no more than it has.
    pub(crate) fn freeze(&mut self) {
        for half in [&mut self.head, &mut self.tail] {
            (half.limit, half.encoded_limit) = (half.bytes.len(), half.encoded);
        }
    }

    /// What is kept, as one text.
    pub(crate) fn join(self) -> Data {
        let truncated = self.truncated();
        let (mut head, mut tail) = (Vec::from(self.head.bytes), Vec::from(self.tail.bytes));
        if truncated {
            // A character cut in two would turn readable text into base64.
            head.truncate(head.len() - split_character(&head));
            let torn = tail.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
            tail.drain(..torn);
        }
        // What is no text gets no mark: it would be one of its bytes.
        if truncated && std::str::from_utf8(&head).is_ok() && std::str::from_utf8(&tail).is_ok() {
            let left_out = self.total - (head.len() + tail.len()) as u64;
            head.extend_from_slice(omission(left_out).as_bytes());
        }
        head.append(&mut tail);
        Data(Bytes::from(head))
    }
}

impl Half {
    /// Takes bytes as long as there is room, and returns the rest.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut room = (self.limit - self.bytes.len()).min(bytes.len());
        let mut encoded = self.encoded + encoded_length(&bytes[..room]);
        while encoded > self.encoded_limit {
            room -= 1;
            encoded -= encoded_length(&bytes[room..=room]);
        }
        self.encoded = encoded;
        self.bytes.extend(&bytes[..room]);
        &bytes[room..]
    }

    /// Takes the newest bytes, and drops the oldest for which there is no more room.
    fn slide(&mut self, bytes: &[u8]) {
        let newest = &bytes[bytes.len().saturating_sub(self.limit)..];
        self.drop_oldest((self.bytes.len() + newest.len()).saturating_sub(self.limit));
        self.bytes.extend(newest);
        self.encoded += encoded_length(newest);
        let mut excess = self.encoded.saturating_sub(self.encoded_limit);
        let too_many = self.bytes.iter().take_while(|byte| {
            let more = excess > 0;
            excess = excess.saturating_sub(encoded_length(&[**byte]));
            more
        });
        self.drop_oldest(too_many.count());
    }

    fn drop_oldest(&mut self, count: usize) {
        let (first, second) = self.bytes.as_slices();
        let of_first = count.min(first.len());
        self.encoded -= encoded_length(&first[..of_first]) + encoded_length(&second[..count - of_first]);
        self.bytes.drain(..count);
    }
}

/// What bytes of text take in a JSON string.
fn encoded_length(bytes: &[u8]) -> usize {
    let length = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..32 => 6,
        _ => 1,
    };
    bytes.iter().map(length).sum()
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
            (4, &["abcde"], "ab\n[1 bytes left out]\nde", true),
            (4, &["a", "b", "c", "d", "e", "f", "g"], "ab\n[3 bytes left out]\nfg", true),
            (5, &["abcdefghij"], "ab\n[5 bytes left out]\nhij", true),
            (0, &["abc"], "\n[3 bytes left out]\n", true),
            (1, &["abc"], "\n[2 bytes left out]\nc", true),
            (4, &[], "", false),
        ] {
            assert_eq!(kept(limit, pieces), (text.to_owned(), truncated), "{limit} {pieces:?}");
        }
    }

    #[test]
    fn a_cut_does_not_tear_characters() {
        let (text, truncated) = kept(10, &["\u{1f30a}\u{1f30a}\u{1f30a}\u{1f30a}"]);
        assert!(truncated);
        assert_eq!(text, "\u{1f30a}\n[8 bytes left out]\n\u{1f30a}");
    }

    #[test]
    fn memory_stays_within_the_limit() {
        let mut ends = Ends::new(1000);
        for _ in 0..10_000 {
            ends.push(&[b'x'; 77]);
            assert!(ends.head.bytes.len() + ends.tail.bytes.len() <= 1000 && ends.size() <= 1000 + 1336);
        }
        assert_eq!(ends.total, 770_000);
        assert_eq!(ends.join().0.len(), 1000 + omission(769_000).len());
    }

    #[test]
    fn what_takes_much_room_in_json_is_kept_in_part() {
        let limit = MAX_OUTPUT_BYTES as usize;
        for (byte, expected) in [(b'x', limit), (b'\n', limit), (0, 2 * limit / 6), (0xff, limit)] {
            let mut ends = Ends::new(limit);
            (0..40).for_each(|_| ends.push(&vec![byte; 1 << 20]));
            let size = ends.size();
            let data = ends.join();
            assert!(data.0.len().abs_diff(expected) <= 40, "{byte}: {}", data.0.len());
            let json = serde_json::to_string(&data).unwrap().len();
            assert!(json <= 2 * limit + 80 && data.0.len() + json <= size + 100, "{byte}: {json} of {size}");
        }
        let mut ends = Ends::new(DEFAULT_OUTPUT_BYTES as usize);
        ends.push(&vec![0; DEFAULT_OUTPUT_BYTES as usize]);
        assert!(!ends.truncated(), "the default limit holds as it is");
    }

    #[test]
    fn a_frozen_stream_keeps_no_more_than_it_has() {
        for (before, expected) in
            [("", "\n[5 bytes left out]\n"), ("ab", "ab\n[5 bytes left out]\n"), ("abcdef", "abcd\n[5 bytes left out]\nyz")]
        {
            let mut ends = Ends::new(8);
            ends.push(before.as_bytes());
            let size = ends.size();
            ends.freeze();
            ends.push(b"vwxyz");
            assert!(ends.size() <= size && ends.truncated());
            assert_eq!(ends.join().0, expected);
        }
    }
}
