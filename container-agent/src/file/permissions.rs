//! Permission bits.

use std::os::fd::AsRawFd;

use cabana_protocol::{Error, file::Chmod};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, Statx, chmodat, fchmod},
    io::Errno,
};

use super::{failure::failure, root::Roots};

/// As rustix has them.
pub(super) fn permissions(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

/// What a copy, or new content, gets of a file's: set-user-ID and the like are not inherited, they are asked for.
pub(super) fn without_privileges(stat: &Statx) -> Mode {
    permissions(u32::from(stat.stx_mode) & 0o777)
}

pub(super) fn change(roots: &Roots, request: &Chmod) -> Result<(), Error> {
    let Chmod { path, mode } = request;
    let mode = permissions(mode.bits());
    // To open a FIFO, or a file that may not be read, would be more than is needed.
    let found = roots.target(path)?.open(OFlags::PATH)?;
    let changed = match chmodat(CWD, format!("/proc/self/fd/{}", found.as_raw_fd()), mode, AtFlags::empty()) {
        // There is no /proc.
        Err(Errno::NOENT) => fchmod(roots.target(path)?.open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?, mode),
        result => result,
    };
    changed.map_err(|errno| failure(path, errno))
}
