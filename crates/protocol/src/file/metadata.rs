//! What is known of a file without reading it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::FilePath;
use crate::Error;

/// Describes one path; a symlink is described as such, never what it points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Metadata {
    /// The path: as asked for, or in a listing relative to the listed directory.
    pub path: FilePath,
    /// What it is.
    pub kind: Kind,
    /// Its length.
    pub size_bytes: u64,
    /// Permission bits.
    pub mode: Mode,
    /// When its content last changed, RFC 3339 in UTC.
    pub modified_at: String,
    /// Names this version of a regular file; the same as the byte lane's ETag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Where a symlink points, as written in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<FilePath>,
}

/// What a path names, see inode(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, socket or device.
    Other,
}

/// Permission bits as four octal digits, for instance `0644`; the first holds set-user-ID, set-group-ID and sticky.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

impl Mode {
    /// The permission bits of a kernel mode.
    pub fn from_bits(mode: u32) -> Self {
        Self(mode & 0o7777)
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        match u32::from_str_radix(text, 8) {
            Ok(bits) if octal => Ok(Self(bits)),
            _ => Err(Error::invalid_request("a mode is three or four octal digits, for instance \"0644\"")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

impl TryFrom<String> for Mode {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        assert_eq!("755".parse::<Mode>().unwrap().to_string(), "0755");
        assert_eq!(Mode::from_bits(0o100_644).to_string(), "0644");
        for bad in ["", "7", "0o755", "888", "+755", "07777777"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
    }
}
