//! Operations on names: copying, linking, permission bits.

use serde::{Deserialize, Serialize};

use super::{Done, FilePath, Mode, RelativePaths};
use crate::Operation;

/// Copies a file, a symlink (as a symlink), or with `recursive` a directory with all it holds.
///
/// Nothing is seen at the destination before the copy is whole, and after a failure nothing is left of it. A file or symlink there is
/// replaced, a directory is not. Permission bits are copied, but for set-user-ID and the like; holes stay holes. Cancelling ends it.
///
/// Fails with `not_found`, `conflict` (a directory without `recursive`, something in the way, a directory into itself), `forbidden`,
/// `storage_full`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Copy {
    /// What to copy.
    pub from: FilePath,
    /// Its new path; its parent must exist.
    pub to: FilePath,
    /// Copies a directory with all it holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recursive: bool,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Copy {
    const NAME: &'static str = "file.copy";
    type Response = Copied;

    fn summary(&self) -> String {
        format!("{} -> {}", self.from, self.to)
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.from, &mut self.to])
    }
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Copied {
    /// Files, directories and symlinks.
    pub entries: u64,
    /// Size of all the files.
    pub size_bytes: u64,
    /// FIFOs, sockets and devices, which are left out.
    pub skipped: u64,
}

/// Makes a symlink.
///
/// Its target is kept as it is given, and need not exist. Operations follow it only within the sandbox's roots.
///
/// Fails with `not_found` (no parent), `conflict` (something is there), `forbidden`, `storage_full`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Symlink {
    /// The symlink.
    pub path: FilePath,
    /// Where it points: where it is relative, it starts at the symlink's own directory.
    pub target: FilePath,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Symlink {
    const NAME: &'static str = "file.symlink";
    type Response = Done;

    fn summary(&self) -> String {
        format!("{} -> {}", self.path, self.target)
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// Sets the permission bits of a file or directory; of a symlink, those of what it points to.
///
/// Fails with `not_found`, `forbidden` (also for what belongs to somebody else, where the agent is not root).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Chmod {
    /// The file or directory.
    pub path: FilePath,
    /// All its permission bits from now on; those that are not named here are cleared, set-user-ID and the like among them.
    pub mode: Mode,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Chmod {
    const NAME: &'static str = "file.chmod";
    const IDEMPOTENT: bool = true;
    type Response = Done;

    fn summary(&self) -> String {
        format!("{} {}", self.mode, self.path)
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}
