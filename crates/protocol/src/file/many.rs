//! Many small files in one request.

use serde::{Deserialize, Serialize};

use super::{Content, Encoding, FilePath, Metadata, Mode, RelativePaths, Written};
use crate::{Data, Error, Operation};

/// The most files of one request.
pub const MAX_FILES: usize = 1_000;

/// Reads many small files, of at most 8 MiB together.
///
/// Each is read as `file.read` reads it, and fails for itself: its item says why. What does not fit beside those before it fails with
/// `payload_too_large`.
///
/// Fails with `invalid_request` (no path, or more than 1,000).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadMany {
    /// The files, 1 to 1,000.
    pub paths: Vec<FilePath>,
    /// How their content comes. Default: as a string where it is UTF-8, else as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for ReadMany {
    const NAME: &'static str = "file.read_many";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Outcomes<Content>;

    fn summary(&self) -> String {
        list(self.paths.iter())
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), self.paths.iter_mut())
    }
}

/// Describes many paths, without following a symlink at their end.
///
/// Each is described as by `file.stat`, and fails for itself: its item says why.
///
/// Fails with `invalid_request` (no path, or more than 1,000).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatMany {
    /// What to describe, 1 to 1,000.
    pub paths: Vec<FilePath>,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for StatMany {
    const NAME: &'static str = "file.stat_many";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Outcomes<Metadata>;

    fn summary(&self) -> String {
        list(self.paths.iter())
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), self.paths.iter_mut())
    }
}

/// Writes many small files, in their order, creating missing parent directories.
///
/// Each is written whole, as by `file.write`, and fails for itself: its item says why, and the others are written all the same. Cancelling
/// ends it after the file that is being written.
///
/// Fails with `invalid_request` (no file, or more than 1,000).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WriteMany {
    /// The files, 1 to 1,000.
    pub files: Vec<NewFile>,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for WriteMany {
    const NAME: &'static str = "file.write_many";
    type Response = Outcomes<Written>;

    fn summary(&self) -> String {
        list(self.files.iter().map(|file| &file.path))
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), self.files.iter_mut().map(|file| &mut file.path))
    }
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewFile {
    /// The file.
    pub path: FilePath,
    /// What it holds afterwards.
    pub content: Data,
    /// Permission bits, as for `file.write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// What came of each file, in the order in which they were named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Outcomes<T> {
    /// One for each file.
    pub items: Vec<Outcome<T>>,
}

/// What came of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outcome<T> {
    /// It was done.
    File {
        /// The file, as it was named.
        path: FilePath,
        /// What the operation on one file answers.
        file: T,
    },
    /// It failed.
    Error {
        /// The file, as it was named.
        path: FilePath,
        /// Why.
        error: Error,
    },
}

impl<T> Outcome<T> {
    /// What came of the file at this path.
    pub fn new(path: FilePath, outcome: Result<T, Error>) -> Self {
        match outcome {
            Ok(file) => Self::File { path, file },
            Err(error) => Self::Error { path, error },
        }
    }
}

/// The first paths, for the audit.
fn list<'a>(paths: impl ExactSizeIterator<Item = &'a FilePath>) -> String {
    const SHOWN: usize = 8;
    let more = paths.len().saturating_sub(SHOWN);
    let shown: Vec<_> = paths.take(SHOWN).map(ToString::to_string).collect();
    if more == 0 { shown.join(" ") } else { format!("{} and {more} more", shown.join(" ")) }
}
