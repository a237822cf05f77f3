//! Files: small content and metadata. Large content travels on the byte lane, `GET|HEAD|PUT|DELETE …/files?path=…`, and whole trees
//! as tar archives, `GET|PUT …/archive?path=…`.
//!
//! Every path is confined to the sandbox's roots by the kernel: `forbidden` where it, a symlink on it or a race would lead
//! outside. Relative paths start at the first root, or in the directory of the `session` that the request names. Symlinks are followed within the root where they are relative; an absolute one
//! leads outside, wherever it points. A slash at its end says that a path names a directory.

mod change;
mod edit;
mod find;
mod lane;
mod many;
mod metadata;
mod path;
mod read;
mod search;
mod watch;

pub use change::{Chmod, Copied, Copy, Symlink};
pub use edit::{Edit, Edited, Patch, PatchAction, Patched, PatchedFile, Replacement};
pub use find::{Find, Found};
pub use lane::{ArchiveFormat, Exported, Extracted, Upload};
pub use many::{MAX_FILES, NewFile, Outcome, Outcomes, ReadMany, StatMany, WriteMany};
pub use metadata::{Kind, Metadata, Mode};
pub use path::{FilePath, RelativePaths};
pub use read::{Content, Encoded, Encoding, Lines, Read};
pub use search::{FileMatches, MatchLine, Search, Searched, Span};
pub use watch::{Change, Changes, GetChanges, MAX_FOLDED_CHANGES, RecentChanges, Watch, WatchEnd, Watched};

use serde::{Deserialize, Serialize};

use crate::{Data, Operation};

/// The most that `file.read` returns and `file.write` takes: 8 MiB. The byte lane has no such limit.
pub const MAX_CONTENT_BYTES: u64 = 8 << 20;

/// Entries that `file.list` and `file.find`, and lines that `file.search` returns at most where `limit` is not set.
pub const DEFAULT_LIST_LIMIT: u32 = 1_000;

/// The largest `limit` of `file.list`, `file.find` and `file.search`.
pub const MAX_LIST_LIMIT: u32 = 10_000;

/// Writes a file of at most 8 MiB, creating missing parent directories.
///
/// A reader sees the old content or the new, never a mixture; only `append` and `offset` write in place. A symlink is written through, as it is
/// read through, even to a file that does not exist yet. A replaced file keeps its owner and group, where the agent may give files
/// away; other hard links to it keep the old content. What is written is not flushed to the disk.
///
/// Fails with `invalid_request` (a path that ends in a slash), `forbidden`, `not_found` (an `offset` in a file that does not exist),
/// `conflict` (a directory, FIFO or device is in the way; another write at an offset has begun), `payload_too_large`,
/// `precondition_failed`, `range_not_satisfiable` (an `offset` behind the end: `details.size_bytes` says where that is), `storage_full`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Write {
    /// The file.
    pub path: FilePath,
    /// What it holds afterwards; with `append`, what is added at its end.
    pub content: Data,
    /// Permission bits, whatever the umask. Default: the present file's, without set-user-ID and the like where it is replaced, or
    /// `0644` for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Adds to the end instead of replacing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub append: bool,
    /// Writes at this byte of the file instead of replacing it, and leaves what is behind. At most the size of the file, so that there are no
    /// holes; at 0, a missing file is created. Large content goes in parts so, and goes on at `size_bytes` after an interruption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Writes only if the file's ETag is this one, or one of these, as If-Match lists them, or, for `*`, if the file exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Write {
    const NAME: &'static str = "file.write";
    type Response = Written;

    fn summary(&self) -> String {
        self.path.to_string()
    }

    fn bytes(&mut self) -> Option<&mut Data> {
        Some(&mut self.content)
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Written {
    /// True when there was no such file before.
    pub created: bool,
    /// Size of the whole file now.
    pub size_bytes: u64,
    /// Names this version of the file.
    pub etag: String,
}

/// Describes one path, without following a symlink at its end.
///
/// Fails with `not_found`, `forbidden`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stat {
    /// What to describe.
    pub path: FilePath,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Stat {
    const NAME: &'static str = "file.stat";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Metadata;

    fn summary(&self) -> String {
        self.path.to_string()
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// Lists a directory, sorted by name, page by page.
///
/// What changes meanwhile is listed as it was before or after, or not at all. Cancelling ends it.
///
/// Fails with `not_found`, `forbidden`, `conflict` (not a directory), `invalid_request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct List {
    /// The directory.
    pub path: FilePath,
    /// How many levels down, 1 to 64. Default: 1, the directory's own entries. Symlinks are listed, never followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Lists all levels, in place of `depth`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recursive: bool,
    /// Whether names that begin with a dot are listed. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<bool>,
    /// Lists only what matches this glob: `*`, `?`, `[a-z]`, `{a,b}`, and `**` for any number of directories. One without a slash is
    /// matched with the name, one with a slash with the path below the listed directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
    /// How many entries at most, 1 to 10,000. Default: 1,000. A page ends earlier where its paths are long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Goes on after this path, as the last page's `cursor` said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<FilePath>,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for List {
    const NAME: &'static str = "file.list";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Listing;

    fn summary(&self) -> String {
        self.path.to_string()
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// A page of a directory's entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Listing {
    /// The entries; each `path` is relative to the directory.
    #[serde(rename = "items")]
    pub entries: Vec<Metadata>,
    /// There is more: pass this as the next request's `cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<FilePath>,
}

/// Makes a directory.
///
/// Fails with `not_found` (no parent), `conflict` (something is there), `forbidden`, `storage_full`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mkdir {
    /// The directory.
    pub path: FilePath,
    /// Makes missing parents too, and is content with a directory that exists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parents: bool,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Mkdir {
    const NAME: &'static str = "file.mkdir";
    type Response = Done;

    fn summary(&self) -> String {
        self.path.to_string()
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// Removes a file, a symlink (not what it points to) or a directory.
///
/// What something else removes at the same time counts as removed; what is put into a directory meanwhile may make it stay.
///
/// Fails with `not_found`, `conflict` (a directory that is not empty, without `recursive`), `forbidden`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Remove {
    /// What to remove.
    pub path: FilePath,
    /// Removes a directory with all it holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recursive: bool,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Remove {
    const NAME: &'static str = "file.remove";
    type Response = Done;

    fn summary(&self) -> String {
        self.path.to_string()
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// Renames a file, symlink or directory. A file or symlink replaces a file at the destination.
///
/// What the kernel cannot rename is moved as mv(1) does: between file systems, and where a directory is the image's, it is copied with
/// its modes, owners and times, and removed once the copy is in place. What something else writes to it meanwhile may be lost, and hard
/// links become files of their own.
///
/// Fails with `not_found`, `conflict` (the destination is a directory, even an empty one, or inside the source; a FIFO, socket or device
/// that would have to be copied), `forbidden`, `storage_full`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Move {
    /// What to move.
    pub from: FilePath,
    /// Its new path; its parent must exist.
    pub to: FilePath,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Move {
    const NAME: &'static str = "file.move";
    type Response = Done;

    fn summary(&self) -> String {
        format!("{} -> {}", self.from, self.to)
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.from, &mut self.to])
    }
}

/// It is done; there is nothing more to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Done {}
