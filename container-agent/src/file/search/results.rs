//! What a search has found so far, from all its threads.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use cabana_protocol::file::FileMatches;

/// What the text that is shown may take.
const TEXT_BYTES: usize = 4 << 20;

/// Files with matching lines, up to the limit.
#[derive(Debug)]
pub(super) struct Results {
    limit: usize,
    /// Locked to add a file.
    state: Mutex<State>,
    full: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<FileMatches>,
    matches: usize,
    bytes: usize,
}

impl Results {
    /// At most so many matching lines.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default(), full: AtomicBool::new(false) }
    }

    /// Whether something did not fit. Then nothing more does.
    pub(super) fn are_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Adds a file's lines, as many of them as fit.
    pub(super) fn add(&self, mut file: FileMatches) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.are_full() {
            return;
        }
        let (mut matches, mut bytes) = (state.matches, state.bytes + file.path.as_bytes().len());
        let fits = file.lines.iter().take_while(|line| {
            matches += usize::from(!line.matches.is_empty());
            bytes += line.text.0.len();
            matches <= self.limit && bytes <= TEXT_BYTES
        });
        let fits = fits.count();
        if fits < file.lines.len() {
            self.full.store(true, Ordering::Relaxed);
            file.truncated = true;
            file.lines.truncate(fits);
        }
        let shown = file.lines.iter().filter(|line| !line.matches.is_empty()).count();
        if shown > 0 {
            (state.matches, state.bytes) = (state.matches + shown, bytes);
            state.files.push(file);
        }
    }

    /// The files, sorted, and how many of their lines match.
    pub(super) fn finish(self) -> (Vec<FileMatches>, u64) {
        let State { mut files, matches, .. } = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        files.sort_by(|one, other| components(one).cmp(components(other)));
        (files, matches as u64)
    }
}

fn components(file: &FileMatches) -> impl Iterator<Item = &[u8]> {
    file.path.as_bytes().split(|byte| *byte == b'/')
}

#[cfg(test)]
mod tests {
    use cabana_protocol::file::{MatchLine, Span};

    use super::*;

    fn file(path: &str, lines: &[(u64, bool)]) -> FileMatches {
        let line = |&(line, matches): &(u64, bool)| MatchLine {
            line,
            text: "x".into(),
            offset: 0,
            matches: if matches { vec![Span { start: 0, end: 1 }] } else { vec![] },
        };
        FileMatches { path: path.into(), lines: lines.iter().map(line).collect(), truncated: false }
    }

    #[test]
    fn what_does_not_fit_is_cut_and_said() {
        let results = Results::new(3);
        let (one, two) = (file("b/c", &[(1, true), (2, false)]), file("b", &[(7, true), (8, false), (9, true), (10, false)]));
        results.add(one.clone());
        results.add(two.clone());
        assert!(!results.are_full(), "exactly the limit is not too much");
        results.add(file("a", &[(1, false), (2, true)]));
        assert!(results.are_full());
        results.add(file("c", &[(1, true)]));
        assert_eq!(results.finish(), (vec![two, one], 3));
    }

    #[test]
    fn a_file_is_cut_within() {
        let results = Results::new(2);
        results.add(file("a", &[(1, true), (2, false), (3, true), (4, false), (5, true), (6, false)]));
        let (files, matches) = results.finish();
        assert_eq!((files[0].lines.len(), files[0].truncated, matches), (4, true, 2));
    }
}
