//! Watching a directory or a file.

mod recent;

pub use recent::{GetChanges, RecentChanges};

use serde::{Deserialize, Serialize};

use super::{FilePath, RelativePaths};
use crate::{Fold, Never, Operation, Streaming};

/// Changes that the JSON form of `file.watch` holds at most.
pub const MAX_FOLDED_CHANGES: usize = 10_000;

/// Tells of changes in a directory and all below it, or of a file's.
///
/// `ready` comes first; every change from then on is told, or an `overflow` says that some were not. Changes are gathered for 50 ms, and
/// within that time several of one kind on one path are one. What the file operations have not put in place yet is not told: a file that they
/// replace is `modified`. Symlinks are not followed. What cannot be read is not watched. The
/// JSON form ends with `limit` or `timeout_ms`, so that it can be asked again and again.
///
/// Fails with `not_found`, `forbidden`, `invalid_request` (a pattern), `too_many_requests` (watches, or directories in them).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Watch {
    /// The directory or file.
    pub path: FilePath,
    /// Whether directories below are watched too, those that are made later included. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    /// Globs; only paths that match one are told. As in .gitignore, one without a slash matches a name at any depth, and one with a
    /// slash the path below the directory. Default: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Globs; what matches one is neither told nor watched, with all below it. Default: `.git`, `node_modules` and `.DS_Store`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Vec<String>>,
    /// Ends after this many changes, at least 1. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Ends after this time, 1 to 86,400,000 (a day). Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Watch {
    const NAME: &'static str = "file.watch";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Watched;

    fn summary(&self) -> String {
        self.path.to_string()
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

impl Streaming for Watch {
    type Event = Change;
    type Input = Never;
    type Fold = Changes;
}

/// Something that happened. Paths are relative to the watched directory; a watched file goes by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Change {
    /// All is being watched from here on.
    Ready {},
    /// Something is there that was not, or was moved in from where nobody watches.
    Created {
        /// What.
        path: FilePath,
        /// Whether it is a directory. What it holds is told too.
        directory: bool,
    },
    /// A file's content.
    Modified {
        /// Which.
        path: FilePath,
    },
    /// Mode, owner, times or extended attributes.
    Attributes {
        /// Whose.
        path: FilePath,
        /// Whether it is a directory.
        directory: bool,
    },
    /// Something is gone, or was moved to where nobody watches. Of a directory that was moved out, what it holds is not told.
    Removed {
        /// What.
        path: FilePath,
        /// Whether it was a directory.
        directory: bool,
    },
    /// Something has another name, replacing what had it.
    Renamed {
        /// The name that it had.
        from: FilePath,
        /// The name that it has.
        to: FilePath,
        /// Whether it is a directory; its content goes with it.
        directory: bool,
    },
    /// More happened than could be kept for this listener: read the directory again. The watch goes on.
    Overflow {},
}

/// Why a watch has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Watched {
    /// The reason.
    pub reason: WatchEnd,
}

/// A reason to end a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WatchEnd {
    /// `limit` changes were told.
    Limit,
    /// `timeout_ms` passed.
    TimedOut,
    /// The watched directory, or a watched file's directory, was removed.
    Removed,
    /// It was moved.
    Moved,
    /// Its file system was unmounted.
    Unmounted,
}

/// The JSON form of `file.watch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Changes {
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<WatchEnd>,
    /// What happened, at most 10,000 changes.
    pub changes: Vec<Change>,
    /// True when there were more.
    pub truncated: bool,
}

impl Fold<Watch> for Changes {
    type Output = Self;

    fn new(_: &Watch) -> Self {
        Self { reason: None, changes: Vec::new(), truncated: false }
    }

    fn push(&mut self, change: Change) {
        match change {
            Change::Ready {} => {}
            _ if self.changes.len() == MAX_FOLDED_CHANGES => self.truncated = true,
            change => self.changes.push(change),
        }
    }

    fn finish(self, watched: Watched) -> Self {
        Self { reason: Some(watched.reason), ..self }
    }
}
