//! What is known of a file without reading it.

use std::{
    os::fd::AsFd,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, Statx, StatxFlags, statx},
    io::Errno,
    path::Arg,
};

/// The last second of the year 9999: neither RFC 3339 nor an HTTP date goes beyond, and a file may claim any time.
const LAST_SECOND: u64 = 253_402_300_799;

/// statx(2), without following a symlink; for no name, of what is open. The name has no slash at its end: with one, a symlink is
/// followed after all.
pub(crate) fn look(fd: impl AsFd, name: impl Arg) -> Result<Statx, Errno> {
    statx(fd, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

pub(crate) fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

/// Names a version of a file (RFC 9110, 8.8.3). A replaced file has another inode. One that is written in place has another time of change,
/// which, unlike that of its content, nobody can set back.
pub(crate) fn etag(stat: &Statx) -> String {
    let changed = stat.stx_ctime;
    format!("\"{:x}-{:x}-{:x}.{:x}\"", stat.stx_ino, stat.stx_size, changed.tv_sec, changed.tv_nsec)
}

/// When the content last changed, as far as the years 1970 to 9999 can tell.
pub(crate) fn modified(stat: &Statx) -> SystemTime {
    let seconds = u64::try_from(stat.stx_mtime.tv_sec).unwrap_or(0).min(LAST_SECOND);
    SystemTime::UNIX_EPOCH + Duration::new(seconds, stat.stx_mtime.tv_nsec)
}

/// Device and inode, by which a file is known again.
pub(crate) type Identity = (u32, u32, u64);

/// The identity of what is open.
pub(crate) fn identity(fd: impl AsFd) -> Result<Identity, Errno> {
    look(fd, c"").map(|stat| identity_of(&stat))
}

/// The identity of what was looked at.
pub(crate) fn identity_of(stat: &Statx) -> Identity {
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)
}

/// Permission bits as rustix has them.
pub(crate) fn permissions(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

/// The permission bits that a copy, or new content, gets of a file's: set-user-ID and the like are not inherited, they are asked for.
pub(crate) fn without_privileges(stat: &Statx) -> Mode {
    permissions(u32::from(stat.stx_mode) & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_date_can_be_told() {
        let mut stat = look(std::fs::File::open("/").unwrap(), c"").unwrap();
        for (seconds, http) in [
            (i64::MIN, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            stat.stx_mtime.tv_sec = seconds;
            stat.stx_mtime.tv_nsec = 999_999_999;
            assert_eq!(httpdate::fmt_http_date(modified(&stat)), http);
        }
    }

    #[test]
    fn a_rewritten_file_has_another_etag_whatever_its_time_says() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        std::fs::write(&path, "one").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let before = look(&file, c"").unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        // The kernel's clock for files has ticks.
        while etag(&look(&file, c"").unwrap()) == etag(&before) {
            std::os::unix::fs::FileExt::write_all_at(&file, b"two", 0).unwrap();
            file.set_modified(written).unwrap();
        }
        assert_eq!(look(&file, c"").unwrap().stx_mtime.tv_nsec, before.stx_mtime.tv_nsec);
    }
}
