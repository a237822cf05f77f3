//! What is known of a file without reading it.

use std::{
    os::fd::AsFd,
    time::{Duration, SystemTime},
};

use cabana_protocol::{
    Error,
    file::{FilePath, Kind, Metadata, Mode},
};
use rustix::{
    fs::{AtFlags, FileType, OFlags, Statx, StatxFlags, readlinkat, statx},
    io::Errno,
};

use super::{failure::failure, root::Roots};

pub(super) fn stat(roots: &Roots, path: FilePath) -> Result<Metadata, Error> {
    let found = roots.target(&path)?.open(OFlags::PATH | OFlags::NOFOLLOW)?;
    describe(found, c"", path.clone()).map_err(|errno| failure(&path, errno))
}

/// Describes a name in a directory, or, for no name, what is open.
pub(super) fn describe(fd: impl AsFd, name: &std::ffi::CStr, path: FilePath) -> Result<Metadata, Errno> {
    let stat = look(&fd, name)?;
    let file_type = file_type(&stat);
    let target = match file_type {
        FileType::Symlink => Some(readlinkat(&fd, name, Vec::new())?.into_bytes().into()),
        _ => None,
    };
    Ok(Metadata {
        path,
        kind: kind(file_type),
        size_bytes: stat.stx_size,
        mode: Mode::from_bits(stat.stx_mode.into()),
        modified_at: modified_at(&stat),
        etag: (file_type == FileType::RegularFile).then(|| etag(&stat)),
        target,
    })
}

/// statx(2), without following a symlink; for no name, of what is open.
pub(super) fn look(fd: impl AsFd, name: &std::ffi::CStr) -> Result<Statx, Errno> {
    statx(fd, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

pub(super) fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

/// Names a version of a file: a replaced file has another inode, one written in place another time or size (RFC 9110, 8.8.3).
pub(super) fn etag(stat: &Statx) -> String {
    let modified = stat.stx_mtime;
    format!("\"{:x}-{:x}-{:x}.{:x}\"", stat.stx_ino, stat.stx_size, modified.tv_sec, modified.tv_nsec)
}

/// When the content last changed.
pub(super) fn modified(stat: &Statx) -> SystemTime {
    let seconds = Duration::from_secs(stat.stx_mtime.tv_sec.unsigned_abs());
    let whole = if stat.stx_mtime.tv_sec < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(stat.stx_mtime.tv_nsec.into())))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn modified_at(stat: &Statx) -> String {
    // humantime writes the years 1970 to 9999, and a file may claim any time.
    let range = SystemTime::UNIX_EPOCH..SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800);
    let modified = Some(modified(stat)).filter(|modified| range.contains(modified)).unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_nanos(modified).to_string()
}
