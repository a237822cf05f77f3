//! Asking what has changed, for callers that cannot listen.

use serde::{Deserialize, Serialize};

use super::Change;
use crate::{
    Operation,
    file::{FilePath, RelativePaths},
};

/// Tells what has changed in a directory since the last time it was asked: `file.watch` for callers that cannot listen.
///
/// The first request, without `since`, begins to watch. Each answer names a `version` to pass as the next request's `since`, with the
/// same `path` and patterns. What is not asked for within 10 minutes may be forgotten.
///
/// Fails with `not_found`, `forbidden`, `invalid_request` (a pattern), `too_many_requests` (watches, or directories in them).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GetChanges {
    /// The directory or file.
    pub path: FilePath,
    /// As `file.watch` has it. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    /// As `file.watch` has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// As `file.watch` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Vec<String>>,
    /// The `version` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for GetChanges {
    const NAME: &'static str = "file.changes";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = RecentChanges;

    fn summary(&self) -> String {
        self.path.to_string()
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RecentChanges {
    /// The changes, oldest first.
    pub changes: Vec<Change>,
    /// True when `since` is not known any more or more than 4,096 changes followed it: read the directory again.
    pub resync: bool,
    /// Where the next request goes on.
    pub version: String,
}
