//! What came of an archive.

use serde::{Deserialize, Serialize};

/// What was extracted from an archive, over the byte lane `PUT …/archive?path=…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Extracted {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes that the files hold.
    pub size_bytes: u64,
}
