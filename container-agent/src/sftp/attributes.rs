//! What is said of a file, and changed of it.

use std::{
    fs::{File, Metadata},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, chmodat, chownat, fchmod, fchown, futimens, utimensat};

use super::{
    packet::{Builder, Fields},
    server::Failure,
};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 1 << 31;

/// Some attributes of a file.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Attributes {
    size: Option<u64>,
    owner: Option<(u32, u32)>,
    permissions: Option<u32>,
    /// Of the last access and the last change, in seconds.
    times: Option<(u32, u32)>,
}

impl From<&Metadata> for Attributes {
    fn from(metadata: &Metadata) -> Self {
        let seconds = |seconds: i64| u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        Self {
            size: Some(metadata.len()),
            owner: Some((metadata.uid(), metadata.gid())),
            permissions: Some(metadata.mode()),
            times: Some((seconds(metadata.atime()), seconds(metadata.mtime()))),
        }
    }
}

impl Attributes {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Failure> {
        let flags = fields.u32()?;
        let mut attributes = Self::default();
        if flags & SIZE != 0 {
            attributes.size = Some(fields.u64()?);
        }
        if flags & OWNER != 0 {
            attributes.owner = Some((fields.u32()?, fields.u32()?));
        }
        if flags & PERMISSIONS != 0 {
            attributes.permissions = Some(fields.u32()?);
        }
        if flags & TIMES != 0 {
            attributes.times = Some((fields.u32()?, fields.u32()?));
        }
        if flags & EXTENDED != 0 {
            for _ in 0..fields.u32()? {
                fields.bytes()?;
                fields.bytes()?;
            }
        }
        Ok(attributes)
    }

    pub(super) fn write(self, mut builder: Builder) -> Builder {
        let flag = |is_there: bool, flag| if is_there { flag } else { 0 };
        let flags = flag(self.size.is_some(), SIZE)
            | flag(self.owner.is_some(), OWNER)
            | flag(self.permissions.is_some(), PERMISSIONS)
            | flag(self.times.is_some(), TIMES);
        builder = builder.u32(flags);
        if let Some(size) = self.size {
            builder = builder.u64(size);
        }
        if let Some((user, group)) = self.owner {
            builder = builder.u32(user).u32(group);
        }
        if let Some(permissions) = self.permissions {
            builder = builder.u32(permissions);
        }
        if let Some((accessed, changed)) = self.times {
            builder = builder.u32(accessed).u32(changed);
        }
        builder
    }

    /// The permissions that a new file gets, of which the process's mask is taken away.
    pub(super) fn mode(self, usual: u32) -> u32 {
        self.permissions.unwrap_or(usual) & 0o7777
    }

    /// Changes an open file.
    pub(super) fn apply(self, file: &File) -> Result<(), Failure> {
        if let Some(size) = self.size {
            file.set_len(size)?;
        }
        if let Some(permissions) = self.permissions {
            fchmod(file.as_fd(), Mode::from_raw_mode(permissions & 0o7777))?;
        }
        if let Some(times) = self.timestamps() {
            futimens(file.as_fd(), &times)?;
        }
        if let Some((user, group)) = self.owner {
            fchown(file.as_fd(), Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
        Ok(())
    }

    /// Changes the file of this name, or a symlink itself.
    pub(super) fn apply_to(self, path: &Path, flags: AtFlags) -> Result<(), Failure> {
        if let Some(size) = self.size {
            if flags.contains(AtFlags::SYMLINK_NOFOLLOW) {
                return Err(Failure::BAD_MESSAGE);
            }
            File::options().write(true).open(path)?.set_len(size)?;
        }
        if let Some(permissions) = self.permissions {
            chmodat(CWD, path, Mode::from_raw_mode(permissions & 0o7777), flags)?;
        }
        if let Some(times) = self.timestamps() {
            utimensat(CWD, path, &times, flags)?;
        }
        if let Some((user, group)) = self.owner {
            chownat(CWD, path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)), flags)?;
        }
        Ok(())
    }

    fn timestamps(self) -> Option<Timestamps> {
        let (accessed, changed) = self.times?;
        let at = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
        Some(Timestamps { last_access: at(accessed), last_modification: at(changed) })
    }
}

/// A line as `ls -l` prints it, which clients show as it is.
pub(super) fn long_name(name: &[u8], metadata: &Metadata) -> Vec<u8> {
    let mode = metadata.permissions().mode();
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        kind if kind.is_file() => '-',
        _ => '?',
    };
    let bit = |at: u32, letter: char| if mode & (1 << at) == 0 { '-' } else { letter };
    let bits: String = (0..9).rev().zip("rwxrwxrwx".chars()).map(|(at, letter)| bit(at, letter)).collect();
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(metadata.mtime()).unwrap_or(0));
    let time = humantime::format_rfc3339_seconds(changed).to_string();
    let time = time.get(..16).unwrap_or_default().replace('T', " ");
    let (links, user, group, size) = (metadata.nlink(), metadata.uid(), metadata.gid(), metadata.len());
    let mut line = format!("{kind}{bits} {links:>3} {user:<8} {group:<8} {size:>10} {time} ").into_bytes();
    line.extend_from_slice(name);
    line
}
