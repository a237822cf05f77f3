//! The byte lanes: how files and archives are sent over `…/files` and `…/archive`, and what came of it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Mode;
use crate::Error;

/// A file, or a part of one, on its way to a sandbox, over the byte lane `PUT …/files?path=…`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upload {
    /// Its permission bits. Default: those of the present file, or `0644`.
    pub mode: Option<Mode>,
    /// Replaces only the file with this ETag.
    pub if_match: Option<String>,
    /// In place of a whole file, writes the bytes from the first of these up to the second, of a file that has the third as its length in the end.
    pub part: Option<(u64, u64, u64)>,
}

impl Upload {
    /// The header `Content-Range` of a part.
    pub fn content_range(&self) -> Option<String> {
        self.part.map(|(first, end, complete)| format!("bytes {first}-{}/{complete}", end.saturating_sub(1)))
    }
}

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// Not at all.
    #[default]
    Tar,
    /// With gzip, RFC 1952.
    Gzip,
    /// With Zstandard, RFC 8878.
    Zstd,
}

impl ArchiveFormat {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Tar, Self::Gzip, Self::Zstd];

    /// Its name in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Gzip => "tar.gz",
            Self::Zstd => "tar.zst",
        }
    }

    /// The media type of such an archive.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Tar => "application/x-tar",
            Self::Gzip => "application/gzip",
            Self::Zstd => "application/zstd",
        }
    }
}

impl FromStr for ArchiveFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let unknown = || Error::invalid_request("format is tar, tar.gz or tar.zst");
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or_else(unknown)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_names() {
        for format in ArchiveFormat::ALL {
            assert_eq!(format.as_str().parse::<ArchiveFormat>().unwrap(), format);
        }
        assert!("zip".parse::<ArchiveFormat>().is_err());
    }

    #[test]
    fn a_part_names_its_last_byte() {
        let part = |part| Upload { part, ..Upload::default() }.content_range();
        assert_eq!(part(None), None);
        assert_eq!(part(Some((4, 10, 20))).as_deref(), Some("bytes 4-9/20"));
    }
}
