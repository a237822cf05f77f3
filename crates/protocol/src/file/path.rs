//! A path inside a sandbox.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Data;

/// A path inside the sandbox: a string, or `{"base64": "…"}` where its bytes are not UTF-8. At most 4,096 bytes, no NUL.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

    /// The same path, which begins in this directory where it is relative.
    pub fn within(&self, directory: &[u8]) -> Self {
        match self.as_bytes() {
            [] | [b'/', ..] => self.clone(),
            relative => [directory, b"/", relative].concat().into(),
        }
    }
}

/// Paths of a request that begin in the directory of a session where they are relative.
#[derive(Debug)]
pub struct RelativePaths<'a> {
    /// The session, by its id or name.
    pub session: &'a str,
    /// The paths.
    pub paths: Vec<&'a mut FilePath>,
}

impl<'a> RelativePaths<'a> {
    /// These paths, if a session is named.
    pub fn new(session: Option<&'a str>, paths: impl IntoIterator<Item = &'a mut FilePath>) -> Option<Self> {
        session.map(|session| Self { session, paths: paths.into_iter().collect() })
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
