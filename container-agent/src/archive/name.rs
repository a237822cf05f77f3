//! Where a member of an archive may go: a pure question of its name. What the names on the way mean is the kernel's to decide.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

use cabana_protocol::file::FilePath;

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It begins with a slash.
    #[error("the name is absolute")]
    Absolute,
    /// It has `..` in it.
    #[error("the name contains ..")]
    Parent,
    /// No file can have it.
    #[error("a name has 1 to 4,096 bytes, none of them NUL")]
    Impossible,
}

/// The path of this name below the directory that an archive is extracted into; empty for the directory itself.
///
/// Empty components and `.` mean nothing and are left out.
pub(super) fn below(name: &[u8]) -> Result<PathBuf, Refusal> {
    if name.is_empty() || name.len() > FilePath::MAX_BYTES || name.contains(&0) {
        return Err(Refusal::Impossible);
    }
    if name.starts_with(b"/") {
        return Err(Refusal::Absolute);
    }
    let components = name.split(|byte| *byte == b'/').filter(|component| !matches!(*component, b"" | b"."));
    components.map(|component| if component == b".." { Err(Refusal::Parent) } else { Ok(OsStr::from_bytes(component)) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_below() {
        let long = "a/".repeat(FilePath::MAX_BYTES / 2);
        for (name, path) in [
            ("a", Ok("a")),
            ("a/b/", Ok("a/b")),
            ("./a//./b/.", Ok("a/b")),
            (".", Ok("")),
            ("./", Ok("")),
            ("...", Ok("...")),
            ("a..b/..c/d..", Ok("a..b/..c/d..")),
            (" /\n/\\..\\", Ok(" /\n/\\..\\")),
            (&long, Ok(long.trim_end_matches('/'))),
            ("", Err(Refusal::Impossible)),
            ("a\0", Err(Refusal::Impossible)),
            (&format!("{long}a"), Err(Refusal::Impossible)),
            ("/", Err(Refusal::Absolute)),
            ("/a", Err(Refusal::Absolute)),
            ("//a", Err(Refusal::Absolute)),
            ("..", Err(Refusal::Parent)),
            ("../a", Err(Refusal::Parent)),
            ("a/../b", Err(Refusal::Parent)),
            ("a/..", Err(Refusal::Parent)),
            ("./../a", Err(Refusal::Parent)),
        ] {
            assert_eq!(below(name.as_bytes()), path.map(PathBuf::from), "{name:?}");
        }
    }
}
