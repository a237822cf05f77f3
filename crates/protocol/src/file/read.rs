//! Reading a file whole or in part.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{FilePath, RelativePaths};
use crate::{Data, Operation};

/// Reads a file, a range of its bytes or of its lines, of at most 8 MiB.
///
/// Fails with `not_found`, `forbidden`, `conflict` (not a regular file), `payload_too_large`, `unprocessable` (not the text that was
/// asked for).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Read {
    /// The file.
    pub path: FilePath,
    /// First byte to read. Default: 0. Past the end, the content is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How many bytes to read. Default: to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Reads these lines instead of a range of bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Lines>,
    /// How the content comes. Default: as a string where it is UTF-8, else as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// The session, by its id or name, in whose directory relative paths begin. Default: they begin at the first root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation for Read {
    const NAME: &'static str = "file.read";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Content;

    fn summary(&self) -> String {
        self.path.to_string()
    }

    fn response_bytes(response: &mut Content) -> Option<&mut Data> {
        match &mut response.content {
            Encoded::Fitting(bytes) => Some(bytes),
            Encoded::Base64 { .. } => None,
        }
    }

    fn relative_paths(&mut self) -> Option<RelativePaths<'_>> {
        RelativePaths::new(self.session.as_deref(), [&mut self.path])
    }
}

/// A range of lines. Each line holds its line break; the last one of a file need not have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lines {
    /// The first line; a file's first is 1, which is the default.
    #[serde(default = "first_line")]
    pub from: u64,
    /// The last line. Default: the file's last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

fn first_line() -> u64 {
    1
}

/// How bytes come in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As a string; what is not UTF-8 is `unprocessable`.
    Text,
    /// As `{"base64": "…"}`, whatever they are.
    Base64,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Content {
    /// The bytes.
    pub content: Encoded,
    /// Where the content begins in the file, in bytes.
    pub offset: u64,
    /// Which lines it is, where lines were asked for and there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Lines>,
    /// Size of the whole file.
    pub size_bytes: u64,
    /// What the file is, told by its first bytes and its name: `text/plain`, `image/png`; `application/octet-stream` when in doubt.
    pub media_type: String,
    /// Names this version of the file, for `if_match`.
    pub etag: String,
}

/// Bytes in the encoding that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Encoded {
    /// As a string where they are UTF-8, else as base64.
    Fitting(Data),
    /// As base64, whatever they are.
    Base64 {
        /// The bytes, in RFC 4648's base64.
        base64: String,
    },
}

impl Encoded {
    /// The bytes as base64.
    pub fn base64(bytes: &[u8]) -> Self {
        Self::Base64 { base64: BASE64.encode(bytes) }
    }
}

impl From<&str> for Encoded {
    fn from(text: &str) -> Self {
        Self::Fitting(text.into())
    }
}
