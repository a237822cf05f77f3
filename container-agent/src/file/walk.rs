//! Walking a tree as ripgrep does, on several threads, and never out of it.
//!
//! ripgrep's own walker goes by paths, which whoever swaps a directory for a symlink could bend, and opens whatever is called
//! .gitignore, even a FIFO. So the walk is ours, through descriptors; what ignore files mean is still the crate `ignore`'s to say.

mod ignores;
mod queue;

use std::{
    ffi::{CStr, CString},
    num::NonZero,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cabana_protocol::{Error, names::invalid_field};
use rustix::{
    fs::{Dir as ReadDir, FileType},
    io::Errno,
};

use super::cancel::Halt;
use crate::{
    fs::{Dir, file_type, is_dots, join, look},
    globs::Globs,
};
pub(crate) use ignores::IgnoreRules;
use queue::{Job, Queue};

/// How long a walk may take, unless the caller says so.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;

/// The longest that it may take.
const MAX_TIMEOUT_MS: u64 = 600_000;

/// Threads of one walk at most, however many processors there are: others want some, too.
const MAX_THREADS: usize = 8;

/// Files of one directory that make a piece of work; fewer are not worth handing to another thread.
const BATCH: usize = 64;

/// What a walk leaves out.
#[derive(Debug)]
pub(super) struct Rules {
    /// Names that begin with a dot are walked, too.
    pub(super) hidden: bool,
    /// What ignore files name is walked, too.
    pub(super) ignored: bool,
    /// What matches these is left out, and all below it.
    pub(super) exclude: Globs,
}

/// Something that the walk came by.
#[derive(Debug)]
pub(super) struct DirEntry<'a> {
    /// The directory that holds it.
    pub(super) directory: BorrowedFd<'a>,
    /// Its name there.
    pub(super) name: &'a CStr,
    /// Its path below the directory that the walk started from.
    pub(super) path: PathBuf,
    /// What it is.
    pub(super) kind: FileType,
}

/// A walk that is under way.
struct Walk<'a> {
    base: &'a Dir,
    rules: &'a Rules,
    halt: &'a Halt<'a>,
    queue: Queue,
    /// Directories that could not be read.
    skipped: AtomicU64,
}

/// Shows all that is below a directory, in no order, to as many visitors as there are threads. Says how many directories could not be
/// read, or were too many to be remembered.
pub(super) fn walk<V>(root: &Dir, base: &Dir, rules: &Rules, halt: &Halt<'_>, visitor: impl Fn() -> V + Sync) -> u64
where
    V: FnMut(DirEntry<'_>),
{
    let above = if rules.ignored { IgnoreRules::top(PathBuf::new()) } else { IgnoreRules::above(root, base) };
    let first = Job::Directory { path: PathBuf::new(), above: Arc::new(above) };
    let walk = Walk { base, rules, halt, queue: Queue::new(first), skipped: AtomicU64::new(0) };
    let work = || walk.work(visitor());
    let helpers = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS) - 1;
    thread::scope(|scope| {
        for _ in 0..helpers {
            // Where no thread is to be had, those that run do it all.
            let _ = thread::Builder::new().name("walk".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
    walk.skipped.into_inner()
}

impl Walk<'_> {
    fn work(&self, mut visitor: impl FnMut(DirEntry<'_>)) {
        while let Some(work) = self.queue.next(|| self.halt.is_set()) {
            match &*work {
                Job::Directory { path, above } => match self.directory(path, above, &mut visitor) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) | Ok(()) => {}
                    Err(_) => self.skip(),
                },
                Job::Files { directory, path, files } => self.files(directory.as_fd(), path, files, &mut visitor),
            }
        }
    }

    fn skip(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows what is in a directory, and leaves directories in it for later.
    fn directory(&self, path: &Path, above: &Arc<IgnoreRules>, visitor: &mut impl FnMut(DirEntry<'_>)) -> Result<(), Errno> {
        let directory = Arc::new(self.base.open_directory(path)?);
        let level = if self.rules.ignored { Arc::clone(above) } else { IgnoreRules::of(&directory, path, above) };
        let mut files = Vec::new();
        for entry in ReadDir::read_from(&directory)? {
            let entry = entry?;
            if self.halt.is_set() {
                break;
            }
            let Some(kind) = self.kind(&directory, entry.file_name(), entry.file_type()) else { continue };
            let below = join(path, entry.file_name());
            if !self.is_walked(&level, &below, kind) {
                continue;
            }
            if kind == FileType::Directory {
                visitor(DirEntry { directory: directory.as_fd(), name: entry.file_name(), path: below.clone(), kind });
                if !self.queue.offer(Job::Directory { path: below, above: Arc::clone(&level) }) {
                    self.skip();
                }
                continue;
            }
            files.push((entry.file_name().to_owned(), kind));
            if files.len() == BATCH {
                self.offer_files(&directory, path, std::mem::take(&mut files), visitor);
            }
        }
        self.files(directory.as_fd(), path, &files, visitor);
        Ok(())
    }

    /// What a name stands for, unless for the directory itself or nothing any more. Not every file system tells when it lists.
    fn kind(&self, directory: &OwnedFd, name: &CStr, told: FileType) -> Option<FileType> {
        match told {
            _ if is_dots(name) => None,
            FileType::Unknown => look(directory, name).ok().map(|stat| file_type(&stat)),
            kind => Some(kind),
        }
    }

    fn is_walked(&self, level: &IgnoreRules, path: &Path, kind: FileType) -> bool {
        if self.rules.exclude.matches(path) {
            return false;
        }
        match level.ignores(path, kind == FileType::Directory) {
            Some(ignored) => !ignored,
            None => self.rules.hidden || !is_hidden(path),
        }
    }

    /// Leaves files to whoever is free, or to nobody else where much is left already.
    fn offer_files(
        &self,
        directory: &Arc<OwnedFd>,
        path: &Path,
        files: Vec<(CString, FileType)>,
        visitor: &mut impl FnMut(DirEntry<'_>),
    ) {
        let work = Job::Files { directory: Arc::clone(directory), path: path.to_owned(), files };
        if let Err(Job::Files { files, .. }) = self.queue.offer_files(work) {
            self.files(directory.as_fd(), path, &files, visitor);
        }
    }

    fn files(
        &self,
        directory: BorrowedFd<'_>,
        path: &Path,
        files: &[(CString, FileType)],
        visitor: &mut impl FnMut(DirEntry<'_>),
    ) {
        for (name, kind) in files {
            if self.halt.is_set() {
                return;
            }
            visitor(DirEntry { directory, name, path: join(path, name), kind: *kind });
        }
    }
}

/// When work that is asked for now is to end.
///
/// Fails with `invalid_request`.
pub(super) fn deadline(timeout_ms: Option<u64>) -> Result<Instant, Error> {
    let timeout_ms = timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS);
    if !(1..=MAX_TIMEOUT_MS).contains(&timeout_ms) {
        return Err(invalid_field("timeout_ms", &format!("a whole number from 1 to {MAX_TIMEOUT_MS}")));
    }
    Ok(Instant::now() + Duration::from_millis(timeout_ms))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().first() == Some(&b'.'))
}
