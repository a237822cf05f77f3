//! Changing text where it stands: replacements, and unified diffs.

use serde::{Deserialize, Serialize};

use super::{FilePath, RelativePaths};
use crate::{Data, Operation};

/// Replaces text in a file of at most 8 MiB: all the edits, or none.
///
/// An edit sees what the ones before it have made. The file is replaced as by `file.write`: a reader sees the old content or the new,
/// and owner and permission bits stay. Should something else write the file meanwhile, the edits are applied to what it wrote.
///
/// Fails with `unprocessable` (a text that is not there, or there more than once: `details.edit` counts from 0; where it is not,
/// `details.line` and `details.closest` tell what comes closest; where there are several, `details.lines` tells where),
/// `invalid_request`, `not_found`, `forbidden`, `conflict` (not a regular file, or one that never rests), `payload_too_large`,
/// `precondition_failed`, `storage_full`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Edit {
    /// The file.
    pub path: FilePath,
    /// The edits, in their order, 1 to 1,000.
    pub edits: Vec<Replacement>,
    /// Edits only if the file's ETag is this one, or one of these, as If-Match lists them, or, for `*`, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Edit {
    const NAME: &'static str = "file.edit";
    type Response = Edited;

    fn summary(&self) -> String {
        self.path.to_string()
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// A text in place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Replacement {
    /// The text that is there, byte for byte, not empty; exactly once, unless `all`.
    pub old: Data,
    /// The text to be there instead; another one.
    pub new: Data,
    /// Replaces it wherever it is, at least once, from the beginning on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// What the edits have made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Edited {
    /// How many texts were replaced.
    pub replacements: u64,
    /// Size of the whole file now.
    pub size_bytes: u64,
    /// Names this version of the file.
    pub etag: String,
}

/// Applies a unified diff, as diff -u and git diff write it, or a series of them, as git format-patch does: all of it, or nothing.
///
/// A hunk may stand at another line than it says, if what it removes and the lines around that are exactly there; the closest such
/// place is taken. Files and symlinks are made, with their directories, deleted, renamed and copied as the diff says, and files are
/// written as by `file.write`. A change sees what the ones before it have made; renames and copies of one commit are of the files before
/// it. A directory that holds nothing any more is removed. A reader may see some files changed before others. Files have at most 8 MiB, a
/// diff changes at most 256 of them and 64 MiB.
///
/// Fails with `unprocessable` (not a unified diff, a binary one, or one that does not apply: `details.path` and `details.hunk`,
/// counted from 1, tell where, `details.line` and `details.closest` what comes closest), `not_found`, `conflict` (a file to be made
/// exists, or one that was read has changed), `forbidden`, `payload_too_large`, `storage_full`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Patch {
    /// The directory that the names in the diff start from.
    pub path: FilePath,
    /// The unified diff.
    pub patch: Data,
    /// How many leading directories to take off the names, as patch -p does. Default: those named `a/` and `b/` by git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip: Option<u32>,
    /// Tells what would be done, and does nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Patch {
    const NAME: &'static str = "file.patch";
    type Response = Patched;

    fn summary(&self) -> String {
        self.path.to_string()
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// What a diff has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Patched {
    /// The files, in the diff's order.
    pub files: Vec<PatchedFile>,
}

/// A file that a diff has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchedFile {
    /// The file; its path begins with the one that was asked for.
    pub path: FilePath,
    /// What was done.
    pub action: PatchAction,
    /// The file that it was renamed or copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FilePath>,
    /// How many hunks were applied.
    pub hunks: u64,
    /// How many lines off the hunk stood that was furthest from where it said.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset_lines: u64,
    /// Names the version that the whole diff has made; absent for a file that is not there any more, a symlink, and in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// What a diff does to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PatchAction {
    /// It was not there before.
    Created,
    /// Its content or its permission bits are others.
    Modified,
    /// It is not there any more.
    Deleted,
    /// It had another path.
    Renamed,
    /// It is made of another file.
    Copied,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
