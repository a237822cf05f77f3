//! The mount table of this process, as proc_pid_mountinfo(5) describes it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The first mount point at or below a directory, whose path has no symbolic links.
pub(super) fn first_below(table: &[u8], directory: &Path) -> Option<PathBuf> {
    let points = table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    points.map(decode).find(|point| point.starts_with(directory))
}

/// The kernel writes blanks, line feeds and backslashes as a backslash and three octal digits.
fn decode(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = code.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::{decode, first_below};
    use std::path::Path;

    #[test]
    fn mounts_are_found_below_a_directory_only() {
        let table = b"22 1 0:21 / / rw - ext4 root rw\n23 22 0:22 / /run/7/state/root rw - overlay overlay rw\n";
        let found = |directory| first_below(table, Path::new(directory));
        assert_eq!(found("/run/7").as_deref(), Some(Path::new("/run/7/state/root")));
        assert_eq!(found("/run/77"), None);
        assert_eq!(found("/run/7/other"), None);
    }

    #[test]
    fn escaped_characters_of_a_mount_point_are_decoded() {
        let table = br"23 22 0:22 / /run/my\040runs\1347/a rw - tmpfs none rw";
        assert!(first_below(table, Path::new(r"/run/my runs\7")).is_some());
        assert_eq!(decode(br"/a\9\04"), Path::new(r"/a\9\04"));
    }
}
