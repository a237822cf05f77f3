//! The extensions of OpenSSH.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, StatVfs, fstatvfs, statvfs};

use super::{
    PACKET_BYTES,
    attributes::Attributes,
    handles::HANDLES,
    packet::Fields,
    server::{Failure, READ_BYTES, Reply, Server, copy, real_path},
};

/// What is announced, and in which version.
pub(super) const EXTENSIONS: [(&str, &str); 10] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
    ("copy-data", "1"),
    ("home-directory", "1"),
];

pub(super) fn carry_out(server: &mut Server, fields: &mut Fields<'_>) -> Result<Reply, Failure> {
    match fields.bytes()? {
        b"posix-rename@openssh.com" => fs::rename(fields.path()?, fields.path()?)?,
        b"hardlink@openssh.com" => fs::hard_link(fields.path()?, fields.path()?)?,
        b"statvfs@openssh.com" => return Ok(space(&statvfs(fields.path()?)?)),
        b"fstatvfs@openssh.com" => return Ok(space(&fstatvfs(server.handles.file(fields.bytes()?)?)?)),
        b"fsync@openssh.com" => server.handles.file(fields.bytes()?)?.sync_all()?,
        b"lsetstat@openssh.com" => {
            let path = fields.path()?;
            Attributes::read(fields)?.apply_to(path, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        b"limits@openssh.com" => {
            let limits = [PACKET_BYTES, READ_BYTES, READ_BYTES, HANDLES];
            return Ok(Reply::Extended(limits.map(|limit| limit as u64).to_vec()));
        }
        b"expand-path@openssh.com" => return Ok(Reply::name(&expand(fields.path()?)?)),
        b"home-directory" => return Ok(Reply::name(&home(fields.bytes()?).ok_or(Failure::UNSUPPORTED)?)),
        b"copy-data" => {
            let (from, at, length) = (fields.bytes()?, fields.u64()?, fields.u64()?);
            let (to, to_at) = (fields.bytes()?, fields.u64()?);
            if from == to {
                return Err(Failure::BAD_MESSAGE);
            }
            let (from, to) = (server.handles.file(from)?.try_clone()?, server.handles.file(to)?.try_clone()?);
            copy(&from, at, length, &to, to_at)?;
        }
        _ => return Err(Failure::UNSUPPORTED),
    }
    Ok(Reply::Done)
}

fn space(of: &StatVfs) -> Reply {
    // Of all flags only these two are OpenSSH's: read-only, and no set-user-id.
    let flags = of.f_flag.bits() & 3;
    let fields = [
        of.f_bsize,
        of.f_frsize,
        of.f_blocks,
        of.f_bfree,
        of.f_bavail,
        of.f_files,
        of.f_ffree,
        of.f_favail,
        of.f_fsid,
        flags,
        of.f_namemax,
    ];
    Reply::Extended(fields.to_vec())
}

/// The path with the home directory in place of `~` or `~user`.
fn expand(path: &Path) -> Result<PathBuf, Failure> {
    let Some(rest) = path.as_os_str().as_bytes().strip_prefix(b"~") else { return real_path(path) };
    let (user, below) = rest.split_at(rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len()));
    let home = home(user).ok_or_else(|| Failure::from(std::io::Error::from(std::io::ErrorKind::NotFound)))?;
    let below = OsStr::from_bytes(below.strip_prefix(b"/").unwrap_or(below));
    real_path(&if below.is_empty() { home } else { home.join(below) })
}

/// The home directory of a user; that of this one by default.
fn home(user: &[u8]) -> Option<PathBuf> {
    if user.is_empty() {
        return env::home_dir();
    }
    let users = fs::read("/etc/passwd").ok()?;
    let mut lines = users.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.first() == Some(&user))?;
    line.get(5).map(|home| PathBuf::from(OsStr::from_bytes(home)))
}
