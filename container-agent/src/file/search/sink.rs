//! The lines of one file that match, and those around them.

use std::io;

use cabana_protocol::file::{FileMatches, FilePath, MatchLine};
use grep_matcher::Matcher;
use grep_regex::RegexMatcher;
use grep_searcher::{Searcher, Sink, SinkContext, SinkMatch};

use super::line::{MAX_MATCHES, shown};

/// Gathers lines while a file is searched.
pub(super) struct Lines<'a, E> {
    matcher: &'a RegexMatcher,
    limit: usize,
    /// Whether more would be in vain.
    ends: E,
    lines: Vec<MatchLine>,
    matches: usize,
    /// There are more than the limit.
    truncated: bool,
    /// It holds a NUL.
    binary: bool,
}

impl<'a, E: Fn() -> bool> Lines<'a, E> {
    /// At most so many that match.
    pub(super) fn new(matcher: &'a RegexMatcher, limit: usize, ends: E) -> Self {
        Self { matcher, limit, ends, lines: Vec::new(), matches: 0, truncated: false, binary: false }
    }

    /// What was found, if anything was.
    pub(super) fn finish(self, path: FilePath) -> Option<FileMatches> {
        let Self { lines, matches, truncated, binary, .. } = self;
        (matches > 0 && !binary).then_some(FileMatches { path, lines, truncated })
    }
}

impl<E: Fn() -> bool> Sink for Lines<'_, E> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        if self.matches == self.limit || (self.ends)() {
            self.truncated = true;
            return Ok(false);
        }
        let whole = found.bytes();
        let mut matches = Vec::new();
        let text = whole.strip_suffix(b"\n").unwrap_or(whole);
        let told = self.matcher.find_iter(text, |one| {
            matches.push((one.start(), one.end()));
            matches.len() < MAX_MATCHES
        });
        told.map_err(io::Error::other)?;
        if matches.is_empty() {
            // What matches at the very end of a line is at least told to be there.
            matches.push((text.len(), text.len()));
        }
        self.lines.push(shown(found.line_number().unwrap_or(0), whole, &matches));
        self.matches += 1;
        Ok(true)
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> Result<bool, io::Error> {
        self.lines.push(shown(context.line_number().unwrap_or(0), context.bytes(), &[]));
        Ok(true)
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> Result<bool, io::Error> {
        self.binary = true;
        Ok(false)
    }
}
