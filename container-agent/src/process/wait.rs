//! Waiting for something to happen to a process.

mod probe;

use std::time::Duration;

use super::{Chunk, Entry, Journal, Stream};
use cabana_protocol::{
    Data, Error,
    exec::Exit,
    process::{Until, Waited},
};
use probe::Probe;
use regex::bytes::{Match, Regex};
use serde_json::json;

use crate::waiting::if_any;

/// Shortest and longest pause between two probes of a port.
const PAUSES: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(250);

/// How long nothing more is printed before a line without its end is searched.
const QUIET: Duration = Duration::from_millis(100);

/// Longest line that is searched; of a longer one the last part.
const LINE_BYTES: usize = 64 << 10;

/// Waits until it happens, or until the process has ended; of output, until some comes after this offset that matches.
///
/// Fails with `invalid_request` for a pattern that is no regular expression, and as [`Probe::new`] does.
pub(super) async fn wait(journal: &Journal, until: Until, from: Option<u64>) -> Result<Waited, Error> {
    match until {
        Until::Exit(_) => Ok(exited(journal).await),
        Until::Port { port, http } => {
            let probe = Probe::new(port, http)?;
            Ok(tokio::select! {
                biased;
                status = answered(&probe) => Waited::Listening { port, status },
                exited = exited(journal) => exited,
            })
        }
        Until::Log { log } => Ok(logged(journal, &compile(&regex::escape(&log))?, from.unwrap_or(0)).await),
        Until::Regex { regex } => Ok(logged(journal, &compile(&regex)?, from.unwrap_or(0)).await),
    }
}

/// What is waited for, for an error.
pub(super) fn describe(until: &Until) -> String {
    let cut = |text: &str| text.chars().take(64).collect::<String>();
    match until {
        Until::Exit(_) => "the process to end".to_owned(),
        Until::Port { port, http: None } => format!("port {port} to accept a connection"),
        Until::Port { port, http: Some(_) } => format!("port {port} to answer over HTTP"),
        Until::Log { log } => format!("output with the text {:?}", cut(log)),
        Until::Regex { regex } => format!("output that matches {:?}", cut(regex)),
    }
}

pub(super) async fn exited(journal: &Journal) -> Waited {
    let mut reader = journal.read(journal.bounds().1);
    loop {
        if let Entry::End(result) = reader.next().await {
            return Waited::Exited { exit: result.exit.unwrap_or(Exit::Lost) };
        }
    }
}

/// Probes until the answer is the one that is waited for.
async fn answered(probe: &Probe) -> Option<u16> {
    let mut pause = *PAUSES.start();
    loop {
        if let Some(status) = probe.attempt().await {
            return status;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(*PAUSES.end());
    }
}

fn compile(pattern: &str) -> Result<Regex, Error> {
    let refused = |error: regex::Error| {
        let error = Error::invalid_request(format!("`until.regex`: not a regular expression: {error}"));
        error.with_details(json!({ "reason": "invalid_field", "field": "until.regex" }))
    };
    Regex::new(pattern).map_err(refused)
}

/// A line that matches.
fn matched(line: &[u8], to: u64, pattern: &Regex) -> Option<Waited> {
    let captures = pattern.captures(line)?;
    let group = |found: Option<Match<'_>>| found.map(|found| Data::from(found.as_bytes().to_vec()));
    Some(Waited::Logged { line: line.to_vec().into(), to, groups: captures.iter().skip(1).map(group).collect() })
}

async fn logged(journal: &Journal, pattern: &Regex, from: u64) -> Waited {
    let mut reader = journal.read(from);
    let (mut stdout, mut stderr) = (Lines::default(), Lines::default());
    loop {
        let unfinished = stdout.is_unfinished() || stderr.is_unfinished();
        let quiet = unfinished.then(|| tokio::time::sleep(QUIET));
        let found = tokio::select! {
            biased;
            entry = reader.next() => match entry {
                Entry::Chunk(Chunk { stream, offset, bytes }) => {
                    if stream == Stream::Stdout { &mut stdout } else { &mut stderr }.search(offset, &bytes, pattern)
                }
                Entry::Gap { .. } => None,
                Entry::End(result) => {
                    let exited = Waited::Exited { exit: result.exit.unwrap_or(Exit::Lost) };
                    return stdout.rest(pattern).or_else(|| stderr.rest(pattern)).unwrap_or(exited);
                }
            },
            // A prompt: it waits for somebody to answer, and not for its line break.
            () = if_any(quiet), if unfinished => {
                let found = stdout.rest(pattern).or_else(|| stderr.rest(pattern));
                (stdout.seen, stderr.seen) = (true, true);
                found
            }
        };
        if let Some(found) = found {
            return found;
        }
    }
}

/// One stream, cut into lines.
#[derive(Debug, Default)]
struct Lines {
    /// The line that is not complete.
    rest: Vec<u8>,
    /// The offset of the byte after it.
    end: u64,
    /// It has been searched as it is.
    seen: bool,
}

impl Lines {
    /// The first line completed by these bytes that matches.
    fn search(&mut self, offset: u64, bytes: &[u8], pattern: &Regex) -> Option<Waited> {
        self.end = offset;
        self.seen = false;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.end += piece.len() as u64;
            self.rest.extend_from_slice(piece);
            let surplus = self.rest.len().saturating_sub(LINE_BYTES);
            self.rest.drain(..surplus);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.rest);
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if let Some(found) = matched(line, self.end, pattern) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Whether there is something without a line break that has not been searched.
    fn is_unfinished(&self) -> bool {
        !self.rest.is_empty() && !self.seen
    }

    /// What stands at the end without a line break, where it matches.
    fn rest(&self, pattern: &Regex) -> Option<Waited> {
        if self.rest.is_empty() { None } else { matched(&self.rest, self.end, pattern) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(line: &str, to: u64) -> Option<Waited> {
        Some(Waited::Logged { line: line.into(), to, groups: Vec::new() })
    }

    #[test]
    fn lines_are_found_however_they_are_cut() {
        let pattern = compile("^ready on \\d+$").unwrap();
        let text = b"starting\nnot ready on 1\nready on 3000\r\nmore\n";
        for size in 1..text.len() {
            let (mut lines, mut offset) = (Lines::default(), 0);
            let found = text.chunks(size).find_map(|piece| {
                offset += piece.len() as u64;
                lines.search(offset - piece.len() as u64, piece, &pattern)
            });
            assert_eq!(found, logged("ready on 3000", 39), "{size}");
        }
        let mut lines = Lines::default();
        assert_eq!(lines.search(100, b"ready on 1", &pattern), None);
        assert_eq!(lines.rest(&pattern), logged("ready on 1", 110));
    }

    #[tokio::test(start_paused = true)]
    async fn a_prompt_without_a_line_break_is_seen_once_it_is_quiet() {
        let (journal, _holder) = Journal::attended(None);
        let mut reader = std::pin::pin!(wait(&journal, Until::Log { log: "on 3".to_owned() }, None));
        assert!(futures_util::poll!(reader.as_mut()).is_pending());
        let chunk = |offset, text: &'static str| Chunk { stream: Stream::Stdout, offset, bytes: text.into() };
        journal.push(chunk(0, "ready on 3"));
        tokio::time::timeout(QUIET / 2, &mut reader).await.unwrap_err();
        journal.push(chunk(10, "000 "));
        assert_eq!(reader.await.ok(), logged("ready on 3000 ", 14));
    }

    #[tokio::test(start_paused = true)]
    async fn output_before_the_offset_does_not_match() {
        let (journal, _holder) = Journal::attended(None);
        let chunk = |offset| Chunk { stream: Stream::Stdout, offset, bytes: "ready\n".into() };
        let mut waiting = std::pin::pin!(wait(&journal, Until::Log { log: "ready".to_owned() }, Some(6)));
        journal.push(chunk(0));
        tokio::time::timeout(Duration::from_secs(60), &mut waiting).await.unwrap_err();
        journal.push(chunk(6));
        assert_eq!(waiting.await.ok(), logged("ready", 12));
    }

    #[test]
    fn groups_are_told() {
        let pattern = compile("port (\\d+)(?: of (\\w+))?").unwrap();
        let groups = |line: &[u8]| match matched(line, 0, &pattern) {
            Some(Waited::Logged { groups, .. }) => Some(groups),
            _ => None,
        };
        assert_eq!(groups(b"port 3000"), Some(vec![Some("3000".into()), None]));
        assert_eq!(groups(b"on port 3000 of web."), Some(vec![Some("3000".into()), Some("web".into())]));
        assert_eq!(groups(b"port x"), None);
        assert!(compile("[").is_err());
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let pattern = compile("end").unwrap();
        let mut lines = Lines::default();
        for round in 0..100 {
            assert_eq!(lines.search(round * 10_000, &[b'x'; 10_000], &pattern), None);
            assert!(lines.rest.len() <= LINE_BYTES);
        }
        assert!(lines.search(1_000_000, b"end\n", &pattern).is_some());
    }
}
