//! `file.stat`, and how files are described to callers.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::SystemTime,
};

use cabana_protocol::{
    Error,
    file::{FilePath, Kind, Metadata, Mode},
};
use rustix::{
    fs::{FileType, OFlags, Statx, openat, readlinkat},
    io::Errno,
};

use crate::fs::{Roots, errno_error, etag, file_type, look, modified};

pub(super) fn stat(roots: &Roots, path: FilePath) -> Result<Metadata, Error> {
    let found = roots.target(&path)?.open(OFlags::PATH | OFlags::NOFOLLOW)?;
    describe(&found, path.clone()).map_err(|errno| errno_error(&path, errno))
}

/// When what is at a path last changed.
pub fn modified_at(roots: &Roots, path: &FilePath) -> Result<SystemTime, Error> {
    let found = roots.target(path)?.open(OFlags::PATH)?;
    look(&found, c"").map(|stat| modified(&stat)).map_err(|errno| errno_error(path, errno))
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
        modified_at: humantime::format_rfc3339_millis(modified(stat)).to_string(),
        etag: (kind == Kind::File).then(|| etag(stat)),
        target: None,
    }
}

/// What the wire calls a kind of file.
pub(super) fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_date_can_be_described() {
        let mut stat = look(std::fs::File::open("/").unwrap(), c"").unwrap();
        for (seconds, expected) in [
            (i64::MIN, "1970-01-01T00:00:00.999Z"),
            (0, "1970-01-01T00:00:00.999Z"),
            (253_402_300_799, "9999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            stat.stx_mtime.tv_sec = seconds;
            stat.stx_mtime.tv_nsec = 999_999_999;
            assert_eq!(metadata(&stat, "f".into()).modified_at, expected);
        }
    }
}
