//! The mount calls that a root file system is made of. All of them run in a mount namespace of the sandbox's
//! own.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive};

/// Mounts an empty tmpfs. `options` are tmpfs's own, e.g. `mode=755,size=4k`.
pub(super) fn tmpfs(target: &Path, flags: MountFlags, options: &str) -> Result<()> {
    let options = CString::new(options)?;
    mount("tmpfs", target, "tmpfs", flags, options.as_c_str())
        .with_context(|| format!("mounting a tmpfs on {}", target.display()))
}

/// Shows `source`, file or directory, read-only at `target`, which must exist.
pub(super) fn bind_read_only(source: &Path, target: &Path) -> Result<()> {
    mount_bind(source, target)
        .map_err(io::Error::from)
        .and_then(|()| set_read_only(target, false))
        .with_context(|| format!("showing {} at {}", source.display(), target.display()))
}

/// As [`bind_read_only`], with everything that is mounted below.
pub(super) fn bind_read_only_recursive(source: &Path, target: &Path) -> Result<()> {
    mount_bind_recursive(source, target)
        .map_err(io::Error::from)
        .and_then(|()| set_read_only(target, true))
        .with_context(|| format!("showing {} at {}", source.display(), target.display()))
}

/// Hides a directory under an empty one, a file under /dev/null.
pub(super) fn hide(path: &Path) -> Result<()> {
    if path.is_dir() {
        tmpfs(path, MountFlags::RDONLY | MountFlags::NOSUID, "mode=755,size=4k")
    } else {
        mount_bind("/dev/null", path).with_context(|| format!("hiding {}", path.display()))
    }
}

/// Makes a directory with exactly these permission bits, and its parents.
pub(super) fn directory(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("making {}", path.display()))
}

/// Makes an empty file to mount another on.
pub(super) fn empty_file(path: &Path) -> Result<()> {
    fs::write(path, "").with_context(|| format!("making {}", path.display()))
}

/// Adds the read-only flag to a mount and keeps its other flags, which a remount would have to repeat (and
/// which, in a user namespace, may not be dropped).
fn set_read_only(target: &Path, recursive: bool) -> io::Result<()> {
    let path = CString::new(target.as_os_str().as_bytes())?;
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    #[allow(unsafe_code)]
    // SAFETY: the path and the attributes live through the call, which reads them and keeps no pointer.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, path.as_ptr(), flags, &attributes, size_of::<libc::mount_attr>())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
