//! A path inside a sandbox.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Data;

/// A path inside the sandbox: a string, or `{"base64": "…"}` where its bytes are not UTF-8. At most 4,096 bytes, no NUL.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct FilePath(Data);

impl FilePath {
    /// Longest path, in bytes: Linux's PATH_MAX.
    pub const MAX_BYTES: usize = 4_096;

    /// The path's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.0
    }
}

impl From<&str> for FilePath {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<Vec<u8>> for FilePath {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(formatter)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(formatter)
    }
}
