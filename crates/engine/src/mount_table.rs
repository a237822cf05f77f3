//! The mounts of this process, as proc_pid_mountinfo(5) lists them.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// The kind of file system, e.g. `cgroup2`.
    pub file_system: String,
    /// Options of the file system's own.
    pub options: Vec<String>,
}

/// The mounts that this process sees; none without a /proc.
pub fn read() -> Vec<Mount> {
    parse(&fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// Reads a table. Lines of another shape are left out.
pub fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /root /point options [tag[:value]…] - type source super-options`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = unescape(fields.nth(4)?);
    fields.find(|field| *field == b"-")?;
    let file_system = String::from_utf8(unescape(fields.next()?)).ok()?;
    let options = String::from_utf8_lossy(fields.nth(1)?).split(',').map(str::to_owned).collect();
    Some(Mount { point: OsString::from_vec(point).into(), file_system, options })
}

/// The kernel writes blanks, line feeds and backslashes as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_blanks_and_backslashes_are_decoded() {
        let table = b"\
22 1 0:21 / / rw shared:1 master:2 - ext4 /dev/root rw,discard
23 22 0:22 / /opt/my\\040tools\\134x\\012y rw - tmpfs none rw
24 22 0:23 / /opt/\xff rw - tmpfs none rw
not a mount
";
        let points: Vec<_> = parse(table).into_iter().map(|mount| mount.point.into_os_string().into_vec()).collect();
        assert_eq!(points, [b"/".as_slice(), b"/opt/my tools\\x\ny", b"/opt/\xff"]);
        assert_eq!(parse(table)[0].options, ["rw", "discard"]);
        assert_eq!(parse(table)[0].file_system, "ext4");
        assert_eq!(unescape(br"a\9b\04"), br"a\9b\04");
    }
}
