//! What came of an archive.

use serde::{Deserialize, Serialize};

/// What was extracted from an archive, over the byte lane `PUT …/archive?path=…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Extracted {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes that the files hold.
    pub size_bytes: u64,
    /// What the archive lacks: the mark of its end, without which nothing tells whether it was truncated. Absent for one that is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What was stored under a key of the deployment's bucket, by `GET …/archive?path=…&key=…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Exported {
    /// Bytes of the archive.
    pub size_bytes: u64,
}
