//! Finding files by their names.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use cabana_protocol::{
    Error,
    file::{DEFAULT_LIST_LIMIT, FilePath, Find, Found, Kind, MAX_LIST_LIMIT, Metadata},
    names::invalid_field,
};
use rustix::fs::OFlags;

use super::{
    cancel::Halt,
    stat::{describe, kind},
    walk::{DirEntry, Rules, walk},
};
use crate::{
    fs::{Dir, Roots, caller_path},
    globs::Globs,
};

/// What the paths that are found may take.
const PATH_BYTES: usize = 4 << 20;

/// The first of the paths that were found, in their order.
#[derive(Debug)]
struct First {
    paths: BTreeSet<PathBuf>,
    bytes: usize,
    limit: usize,
    /// Some were left out.
    truncated: bool,
}

/// Fails with `invalid_request` before anything is looked at.
pub(super) fn find(roots: &Roots, request: &Find, halt: &Halt<'_>) -> Result<Found, Error> {
    let limit = limit(request.limit)?;
    let pattern = Globs::new(&[&request.pattern])?;
    let rules = Rules { hidden: request.hidden, ignored: request.ignored, exclude: Globs::new(&request.exclude)? };
    let target = roots.target(&request.path)?;
    let base = target.open_dir()?;
    let first = Mutex::new(First { paths: BTreeSet::new(), bytes: 0, limit, truncated: false });
    let visitor = || {
        |entry: DirEntry<'_>| {
            if request.kind.is_none_or(|wanted| kind(entry.kind) == wanted) && pattern.matches(&entry.path) {
                first.lock().unwrap_or_else(PoisonError::into_inner).add(entry.path);
            }
        }
    };
    let skipped = walk(&target.into_root(), &base, &rules, halt, visitor);
    let First { paths, truncated, .. } = first.into_inner().unwrap_or_else(PoisonError::into_inner);
    let entries = paths.iter().filter_map(|path| entry(&base, &request.path, path, request.kind)).collect();
    let timed_out = halt.timed_out();
    Ok(Found { entries, skipped, truncated: truncated || timed_out, timed_out })
}

/// How many things to show at most.
pub(super) fn limit(asked: Option<u32>) -> Result<usize, Error> {
    let limit = asked.unwrap_or(DEFAULT_LIST_LIMIT);
    if !(1..=MAX_LIST_LIMIT).contains(&limit) {
        return Err(invalid_field("limit", &format!("a whole number from 1 to {MAX_LIST_LIMIT}")));
    }
    Ok(limit as usize)
}

/// Describes what was found, if it is still there: beneath where it was looked for, and of that kind.
fn entry(base: &Dir, asked: &FilePath, path: &Path, wanted: Option<Kind>) -> Option<Metadata> {
    let found = base.open(path, OFlags::PATH).ok()?;
    let entry = describe(&found, caller_path(asked, path)).ok()?;
    wanted.is_none_or(|wanted| entry.kind == wanted).then_some(entry)
}

impl First {
    fn add(&mut self, path: PathBuf) {
        self.bytes += path.as_os_str().len();
        self.paths.insert(path);
        while self.paths.len() > self.limit || self.bytes > PATH_BYTES {
            let Some(last) = self.paths.pop_last() else { return };
            self.bytes -= last.as_os_str().len();
            self.truncated = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_kept_in_whatever_order_they_come() {
        let mut first = First { paths: BTreeSet::new(), bytes: 0, limit: 3, truncated: false };
        for (path, kept, truncated) in [
            ("d", vec!["d"], false),
            ("b/x", vec!["b/x", "d"], false),
            ("b.x", vec!["b/x", "b.x", "d"], false),
            ("a", vec!["a", "b/x", "b.x"], true),
            ("e", vec!["a", "b/x", "b.x"], true),
        ] {
            first.add(path.into());
            assert!(first.paths.iter().eq(kept.iter().map(Path::new)), "{path}: {first:?}");
            assert_eq!((first.truncated, first.bytes), (truncated, kept.iter().map(|path| path.len()).sum()), "{path}");
        }
    }
}
