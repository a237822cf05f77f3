//! What is known of a file without reading it.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::{Duration, SystemTime},
};

use cabana_protocol::{
    Error,
    file::{FilePath, Kind, Metadata, Mode},
};
use rustix::{
    fs::{AtFlags, FileType, OFlags, Statx, StatxFlags, openat, readlinkat, statx},
    io::Errno,
    path::Arg,
};

use super::{failure::failure, root::Roots};

/// The last second of the year 9999: neither RFC 3339 nor an HTTP date goes beyond, and a file may claim any time.
const LAST_SECOND: u64 = 253_402_300_799;

pub(super) fn stat(roots: &Roots, path: FilePath) -> Result<Metadata, Error> {
    let found = roots.target(&path)?.open(OFlags::PATH | OFlags::NOFOLLOW)?;
    describe(&found, path.clone()).map_err(|errno| failure(&path, errno))
}

/// Describes a name in a directory, whatever it comes to mean meanwhile.
pub(super) fn describe_name(directory: impl AsFd, name: &std::ffi::CStr, path: FilePath) -> Result<Metadata, Errno> {
    let stat = look(&directory, name)?;
    if file_type(&stat) != FileType::Symlink {
        return Ok(metadata(&stat, path));
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    describe(&openat(&directory, name, flags, rustix::fs::Mode::empty())?, path)
}

/// Describes what is open.
pub(super) fn describe(found: &OwnedFd, path: FilePath) -> Result<Metadata, Errno> {
    let stat = look(found, c"")?;
    let target = match file_type(&stat) {
        FileType::Symlink => Some(readlinkat(found, c"", Vec::new())?.into_bytes().into()),
        _ => None,
    };
    Ok(Metadata { target, ..metadata(&stat, path) })
}

fn metadata(stat: &Statx, path: FilePath) -> Metadata {
    let kind = kind(file_type(stat));
    Metadata {
        path,
        kind,
        size_bytes: stat.stx_size,
        mode: Mode::from_bits(stat.stx_mode.into()),
        modified_at: humantime::format_rfc3339_nanos(modified(stat)).to_string(),
        etag: (kind == Kind::File).then(|| etag(stat)),
        target: None,
    }
}

/// What a caller is told of it.
pub(super) fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

/// statx(2), without following a symlink; for no name, of what is open. The name has no slash at its end: with one, a symlink is
/// followed after all.
pub(super) fn look(fd: impl AsFd, name: impl Arg) -> Result<Statx, Errno> {
    statx(fd, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

pub(super) fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

/// Names a version of a file: a replaced file has another inode, one written in place another time or size (RFC 9110, 8.8.3).
pub(super) fn etag(stat: &Statx) -> String {
    let modified = stat.stx_mtime;
    format!("\"{:x}-{:x}-{:x}.{:x}\"", stat.stx_ino, stat.stx_size, modified.tv_sec, modified.tv_nsec)
}

/// When the content last changed, as far as the years 1970 to 9999 can tell.
pub(super) fn modified(stat: &Statx) -> SystemTime {
    let seconds = u64::try_from(stat.stx_mtime.tv_sec).unwrap_or(0).min(LAST_SECOND);
    SystemTime::UNIX_EPOCH + Duration::new(seconds, stat.stx_mtime.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_date_can_be_told() {
        let mut stat = look(std::fs::File::open("/").unwrap(), c"").unwrap();
        for (seconds, http, rfc_3339) in [
            (i64::MIN, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.999999999Z"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.999999999Z"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59.999999999Z"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59.999999999Z"),
        ] {
            stat.stx_mtime.tv_sec = seconds;
            stat.stx_mtime.tv_nsec = 999_999_999;
            assert_eq!(httpdate::fmt_http_date(modified(&stat)), http);
            assert_eq!(metadata(&stat, "f".into()).modified_at, rfc_3339);
        }
    }
}
