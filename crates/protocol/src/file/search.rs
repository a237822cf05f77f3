//! Searching in the content of files.

use serde::{Deserialize, Serialize};

use super::{FilePath, RelativePaths};
use crate::{Data, Operation};

/// Searches files line by line for a regular expression, or for a text as it is.
///
/// The defaults are ripgrep's: what .gitignore, .ignore and .git/info/exclude name is left out, as are hidden names and binary files,
/// unless asked for; symlinks are not followed. A file that `path` itself names is searched whatever its name. The time it takes grows
/// with what is searched and with nothing else, whatever the expression. Cancelling ends it.
///
/// Fails with `invalid_request` (not a regular expression, or one too large), `not_found`, `forbidden`, `conflict` (neither a file nor
/// a directory), `too_many_requests` (others search, and within its time none has finished).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Search {
    /// The file or directory to search.
    pub path: FilePath,
    /// A regular expression in the syntax of the regex crate, without look-around and back-references; it never matches a line break.
    pub pattern: String,
    /// Takes the pattern for the text itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub literal: bool,
    /// Takes letters for the same in either case.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
    /// Finds whole words only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub word: bool,
    /// Searches only files that match one of these globs, which are as those of `file.find`. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Leaves out what matches one of these globs, and all below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Searches files and directories whose names begin with a dot, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Searches what is ignored, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
    /// Searches binary files, those that hold a NUL, as if they were text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub binary: bool,
    /// How many lines to show before and after each that matches, 0 to 100. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// How many matching lines of one file at most, 1 to 10,000. Default: as many as `limit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_file: Option<u32>,
    /// How many matching lines at most, 1 to 10,000. Default: 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// How long to search, 1 to 600,000. Default: 30,000. Then the answer is what was found so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Search {
    const NAME: &'static str = "file.search";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Searched;

    fn summary(&self) -> String {
        format!("{} in {}", self.pattern, self.path)
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Searched {
    /// The files with matching lines, sorted by their paths.
    pub files: Vec<FileMatches>,
    /// How many lines match, of those that are shown.
    pub matches: u64,
    /// How many files were searched.
    pub searched: u64,
    /// Files and directories that could not be read, and files with a line of more than 16 MiB.
    pub skipped: u64,
    /// There may be more: `limit` or 4 MiB of text were reached, or the time was up. Which files are shown is then left to chance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The time was up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
}

/// A file with matching lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileMatches {
    /// The file; its path begins with the one that was asked for.
    pub path: FilePath,
    /// Lines that match, and those around them, in their order.
    pub lines: Vec<MatchLine>,
    /// More lines of it match than are shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// A line that matches, or that stands near one that does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MatchLine {
    /// Its number; a file's first is 1.
    pub line: u64,
    /// What it says, without the line feed. Of a line longer than 1,024 bytes, the part around its first match.
    pub text: Data,
    /// Where in the line the text begins, in bytes, where it is not the line's beginning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// What matches in the text, the first 100 at most. Empty for a line that is shown for its neighbours' sake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Span>,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Span {
    /// Its first byte.
    pub start: u64,
    /// The byte after its last.
    pub end: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
