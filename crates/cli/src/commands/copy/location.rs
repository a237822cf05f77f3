//! Where something is copied from or to.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

use anyhow::{Result, anyhow};
use cabana_client::protocol::file::FilePath;

use crate::id::Named;

/// A place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// On this machine.
    Local(PathBuf),
    /// In a sandbox.
    Remote(Named, FilePath),
    /// stdin or stdout.
    Standard,
}

impl Location {
    /// Reads `ID:PATH`, `-`, or a local path. What has a slash before its first colon is local.
    pub(super) fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        if bytes == b"-" {
            return Ok(Self::Standard);
        }
        let Some(colon) = bytes.iter().position(|byte| *byte == b':').filter(|colon| !bytes[..*colon].contains(&b'/')) else {
            return Ok(Self::Local(text.into()));
        };
        let id = String::from_utf8_lossy(&bytes[..colon]);
        let id = id.parse().map_err(|error| anyhow!("{error}; a local path with a colon begins with ./"))?;
        // No path is the first root.
        let path = if colon + 1 == bytes.len() { b".".as_slice() } else { &bytes[colon + 1..] };
        Ok(Self::Remote(id, path.to_vec().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::Location;
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    #[test]
    fn places_in_sandboxes_are_told_from_local_ones() {
        let parse = |text: &[u8]| Location::parse(OsStr::from_bytes(text));
        assert_eq!(parse(b"-").unwrap(), Location::Standard);
        for local in [b"a".as_slice(), b"./a:b", b"/a:b", b"a/b:c", b"\xff"] {
            assert!(matches!(parse(local), Ok(Location::Local(_))), "{local:?}");
        }
        for (text, id, path) in [
            (b"demo:a/b".as_slice(), "sbx-demo", b"a/b".as_slice()),
            (b"sbx-a:/tmp/x:y", "sbx-a", b"/tmp/x:y"),
            (b"demo:", "sbx-demo", b"."),
            (b"demo:\xff", "sbx-demo", b"\xff"),
        ] {
            let Ok(Location::Remote(named, found)) = parse(text) else { panic!("{text:?}") };
            assert_eq!((named.0.as_str(), found.as_bytes()), (id, path));
        }
        assert!(parse(b"a b:c").unwrap_err().to_string().contains("begins with ./"));
    }
}
