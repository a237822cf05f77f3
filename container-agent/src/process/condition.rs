//! Waiting for something to happen to a process.

mod knock;

use std::time::Duration;

use super::{Chunk, Entry, Journal, Stream};
use cabana_protocol::{
    Error,
    exec::Exit,
    process::{Pattern, Until, Waited},
};
use knock::Question;
use regex::bytes::Regex;

/// Shortest and longest pause between two knocks at a port.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(250);

/// Longest line that is searched; of a longer one the last part.
const LINE_BYTES: usize = 64 << 10;

/// Waits until it has happened, or the process has ended.
///
/// Fails with `invalid_request` for a pattern that is no regular expression, and as [`Question::new`] does.
pub(super) async fn happened(journal: &Journal, until: Until) -> Result<Waited, Error> {
    match until {
        Until::Exit {} => Ok(exited(journal).await),
        Until::Port { port, http } => {
            let question = Question::new(port, http)?;
            Ok(tokio::select! {
                biased;
                status = answered(&question) => Waited::Listening { port, status },
                exited = exited(journal) => exited,
            })
        }
        Until::Log(pattern) => Ok(logged(journal, &compile(pattern)?).await),
    }
}

async fn exited(journal: &Journal) -> Waited {
    let mut reader = journal.read(journal.bounds().1);
    loop {
        if let Entry::End(result) = reader.next().await {
            return Waited::Exited { exit: result.exit.unwrap_or(Exit::Lost) };
        }
    }
}

/// Knocks until the answer is the one that is waited for.
async fn answered(question: &Question) -> Option<u16> {
    let mut pause = *PAUSES.start();
    loop {
        if let Some(status) = question.ask().await {
            return status;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(*PAUSES.end());
    }
}

fn compile(pattern: Pattern) -> Result<Regex, Error> {
    let pattern = match pattern {
        Pattern::Text(text) => regex::escape(&text),
        Pattern::Regex(pattern) => pattern,
    };
    Regex::new(&pattern).map_err(|error| Error::invalid_request(format!("not a regular expression: {error}")))
}

async fn logged(journal: &Journal, pattern: &Regex) -> Waited {
    let mut reader = journal.read(0);
    let (mut stdout, mut stderr) = (Lines::default(), Lines::default());
    loop {
        let found = match reader.next().await {
            Entry::Chunk(Chunk { stream, bytes, .. }) => {
                if stream == Stream::Stdout { &mut stdout } else { &mut stderr }.search(&bytes, pattern)
            }
            Entry::Gap { .. } => None,
            Entry::End(result) => {
                let exited = Waited::Exited { exit: result.exit.unwrap_or(Exit::Lost) };
                let last = stdout.last(pattern).or_else(|| stderr.last(pattern));
                return last.map_or(exited, |line| Waited::Logged { line: line.into() });
            }
        };
        if let Some(line) = found {
            return Waited::Logged { line: line.into() };
        }
    }
}

/// One stream, cut into lines.
#[derive(Default)]
struct Lines {
    /// The line that is not complete.
    rest: Vec<u8>,
}

impl Lines {
    /// The first line completed by these bytes that matches.
    fn search(&mut self, bytes: &[u8], pattern: &Regex) -> Option<Vec<u8>> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            let surplus = self.rest.len().saturating_sub(LINE_BYTES);
            self.rest.drain(..surplus);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.rest);
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if pattern.is_match(line) {
                    return Some(line.to_vec());
                }
            }
        }
        None
    }

    /// The line at the end, where it matches without a line break.
    fn last(&self, pattern: &Regex) -> Option<Vec<u8>> {
        (!self.rest.is_empty() && pattern.is_match(&self.rest)).then(|| self.rest.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_they_are_cut() {
        let pattern = compile(Pattern::Regex("^ready on \\d+$".to_owned())).unwrap();
        let text = b"starting\nnot ready on 1\nready on 3000\r\nmore\n";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let found = text.chunks(size).find_map(|piece| lines.search(piece, &pattern));
            assert_eq!(found.as_deref(), Some(b"ready on 3000".as_slice()), "{size}");
        }
        let mut lines = Lines::default();
        assert_eq!(lines.search(b"ready on 1", &pattern), None);
        assert_eq!(lines.last(&pattern).as_deref(), Some(b"ready on 1".as_slice()));
    }

    #[test]
    fn a_text_is_not_a_pattern() {
        let pattern = compile(Pattern::Text("a.b[".to_owned())).unwrap();
        assert!(pattern.is_match(b"xa.b[x") && !pattern.is_match(b"xaxb[x"));
        assert!(compile(Pattern::Regex("[".to_owned())).is_err());
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let pattern = compile(Pattern::Text("end".to_owned())).unwrap();
        let mut lines = Lines::default();
        for _ in 0..100 {
            assert_eq!(lines.search(&[b'x'; 10_000], &pattern), None);
            assert!(lines.rest.len() <= LINE_BYTES);
        }
        assert!(lines.search(b"end\n", &pattern).is_some());
    }
}
