//! Searching in the content of files, with the libraries that ripgrep is made of.

mod line;
mod results;
mod sink;

use std::{
    ffi::OsStr,
    fs::File,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use cabana_protocol::{
    Error,
    file::{Search, Searched},
    names::invalid_field,
};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, MmapChoice, Searcher, SearcherBuilder};
use rustix::{
    fs::{FileType, OFlags},
    io::Errno,
};

use super::{
    cancel::{Halt, Interruptible},
    find::limit,
    read,
    walk::{DirEntry, Rules, walk},
};
use crate::{
    fs::{Roots, caller_path, conflict, file_type, look, open_file},
    globs::Globs,
};
use results::Results;
use sink::Lines;

/// Longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 64 << 10;

/// What a compiled pattern, and what it learns while it searches, may take.
const MATCHER_BYTES: usize = 10 << 20;

/// Longest line that is searched, with the context before it.
const MAX_LINE_BYTES: usize = 16 << 20;

/// The most lines to show on either side of one that matches.
const MAX_CONTEXT: u32 = 100;

/// A search that is under way.
struct Run<'a> {
    request: &'a Search,
    include: Option<Globs>,
    matcher: RegexMatcher,
    halt: &'a Halt<'a>,
    per_file: usize,
    results: Results,
    searched: AtomicU64,
    skipped: AtomicU64,
}

pub(super) fn search(roots: &Roots, request: &Search, halt: &Halt<'_>) -> Result<Searched, Error> {
    let limit = limit(request.limit)?;
    let per_file = request.max_per_file.map_or(Ok(limit), |asked| self::limit(Some(asked)))?;
    let run = Run {
        request,
        include: (!request.include.is_empty()).then(|| Globs::new(&request.include)).transpose()?,
        matcher: matcher(request)?,
        halt,
        per_file,
        results: Results::new(limit),
        searched: AtomicU64::new(0),
        skipped: AtomicU64::new(0),
    };
    let searcher = searcher(request)?;
    let target = roots.target(&request.path)?;
    let found = target.open(OFlags::PATH)?;
    match look(&found, c"").map(|stat| file_type(&stat)) {
        Ok(FileType::RegularFile) => {
            let file = read::open(roots, &request.path)?.file;
            run.file(&mut searcher.build(), file, Path::new(""));
        }
        Ok(FileType::Directory) => {
            let rules = Rules { hidden: request.hidden, ignored: request.ignored, exclude: Globs::new(&request.exclude)? };
            let base = target.open_dir()?;
            let visitor = || {
                let mut searcher = searcher.build();
                let run = &run;
                move |entry: DirEntry<'_>| run.visit(&mut searcher, entry)
            };
            run.skip(walk(&target.into_root(), &base, &rules, halt, visitor));
        }
        _ => return Err(conflict(&request.path, "not_a_file", "neither a file nor a directory")),
    }
    Ok(run.finish())
}

/// Fails with `invalid_request`.
fn matcher(request: &Search) -> Result<RegexMatcher, Error> {
    if request.pattern.is_empty() || request.pattern.len() > MAX_PATTERN_BYTES {
        return Err(invalid_field("pattern", &format!("1 to {MAX_PATTERN_BYTES} bytes")));
    }
    let mut builder = RegexMatcherBuilder::new();
    builder
        .multi_line(true)
        .line_terminator(Some(b'\n'))
        .fixed_strings(request.literal)
        .case_insensitive(request.ignore_case)
        .word(request.word)
        .size_limit(MATCHER_BYTES)
        .dfa_size_limit(MATCHER_BYTES);
    builder.build(&request.pattern).map_err(|error| invalid_field("pattern", &format!("a regular expression: {error}")))
}

/// Fails with `invalid_request`.
fn searcher(request: &Search) -> Result<SearcherBuilder, Error> {
    let context = request.context.unwrap_or(0);
    if context > MAX_CONTEXT {
        return Err(invalid_field("context", &format!("a whole number from 0 to {MAX_CONTEXT}")));
    }
    let binary = if request.binary { BinaryDetection::none() } else { BinaryDetection::quit(0) };
    let mut builder = SearcherBuilder::new();
    builder
        .binary_detection(binary)
        .before_context(context as usize)
        .after_context(context as usize)
        .heap_limit(Some(MAX_LINE_BYTES))
        // A file that is cut short while it is mapped would end the agent.
        .memory_map(MmapChoice::never());
    Ok(builder)
}

impl Run<'_> {
    fn visit(&self, searcher: &mut Searcher, entry: DirEntry<'_>) {
        let included = self.include.as_ref().is_none_or(|include| include.matches(&entry.path));
        if entry.kind != FileType::RegularFile || !included {
            return;
        }
        let name = Path::new(OsStr::from_bytes(entry.name.to_bytes()));
        match open_file(entry.directory, name).and_then(|file| Ok((file_type(&look(&file, c"")?), file))) {
            Ok((FileType::RegularFile, file)) => self.file(searcher, file.into(), &entry.path),
            // It is gone, or something else by now.
            Ok(_) | Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => {}
            Err(_) => self.skip(1),
        }
    }

    fn file(&self, searcher: &mut Searcher, file: File, path: &Path) {
        let mut lines = Lines::new(&self.matcher, self.per_file, || self.results.are_full());
        let read = searcher.search_reader(&self.matcher, Interruptible::new(file, || self.halt.is_set()), &mut lines);
        self.searched.fetch_add(1, Ordering::Relaxed);
        if read.is_err() && !self.halt.is_set() {
            self.skip(1);
        }
        if let Some(found) = lines.finish(caller_path(&self.request.path, path)) {
            self.results.add(found);
        }
        if self.results.are_full() {
            self.halt.set();
        }
    }

    fn skip(&self, count: u64) {
        self.skipped.fetch_add(count, Ordering::Relaxed);
    }

    fn finish(self) -> Searched {
        let timed_out = self.halt.timed_out();
        let truncated = self.results.are_full() || timed_out;
        let (files, matches) = self.results.finish();
        let (searched, skipped) = (self.searched.into_inner(), self.skipped.into_inner());
        Searched { files, matches, searched, skipped, truncated, timed_out }
    }
}
