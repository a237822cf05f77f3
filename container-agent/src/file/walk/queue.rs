//! What is left to be walked, for whichever thread is free.

use std::{
    ffi::CString,
    ops::Deref,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::fs::FileType;

use super::ignores::IgnoreRules;

/// Directories that may be left for later. What is beyond is not walked.
const MAX_DIRECTORIES: usize = 1 << 18;

/// Pieces of work with files that may be left for later, each of which holds a directory open.
const MAX_FILES: usize = 32;

/// A piece of work.
#[derive(Debug)]
pub(super) enum Job {
    /// A directory that is still to be opened.
    Directory {
        /// Below the directory that the walk started from.
        path: PathBuf,
        /// What holds in the directory above.
        above: Arc<IgnoreRules>,
    },
    /// Some of the files in a directory.
    Files {
        /// The directory.
        directory: Arc<OwnedFd>,
        /// Its path.
        path: PathBuf,
        /// Their names, and what they are.
        files: Vec<(CString, FileType)>,
    },
}

/// The last in is the first out, so that a walk goes down before it goes on, and little is left at any time.
#[derive(Debug)]
pub(super) struct Queue {
    /// Locked to put or to take one piece.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    directories: Vec<Job>,
    files: Vec<Job>,
    /// Pieces that are being worked on, which may bring forth others.
    busy: usize,
}

/// A piece that is being worked on until it is dropped.
pub(super) struct RunningJob<'a> {
    work: Job,
    queue: &'a Queue,
}

impl Queue {
    /// One with a single piece of work.
    pub(super) fn new(first: Job) -> Self {
        Self { state: Mutex::new(State { directories: vec![first], files: Vec::new(), busy: 0 }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a directory for later; false where too many are left.
    pub(super) fn offer(&self, directory: Job) -> bool {
        let mut state = self.lock();
        let room = state.directories.len() < MAX_DIRECTORIES;
        if room {
            state.directories.push(directory);
            self.changed.notify_one();
        }
        room
    }

    /// Leaves files for later, or gives them back where many are left.
    pub(super) fn offer_files(&self, files: Job) -> Result<(), Job> {
        let mut state = self.lock();
        if state.files.len() == MAX_FILES {
            return Err(files);
        }
        state.files.push(files);
        self.changed.notify_one();
        Ok(())
    }

    /// The next piece; none once all is done, or once the work is to end. Waits while others may still bring some forth.
    pub(super) fn next(&self, ends: impl Fn() -> bool) -> Option<RunningJob<'_>> {
        let mut state = self.lock();
        loop {
            if ends() {
                return None;
            }
            if let Some(work) = state.files.pop().or_else(|| state.directories.pop()) {
                state.busy += 1;
                return Some(RunningJob { work, queue: self });
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Deref for RunningJob<'_> {
    type Target = Job;

    fn deref(&self) -> &Job {
        &self.work
    }
}

impl Drop for RunningJob<'_> {
    fn drop(&mut self) {
        self.queue.lock().busy -= 1;
        // Perhaps that was all, or the end is due.
        self.queue.changed.notify_all();
    }
}
