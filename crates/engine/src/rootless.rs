//! Running without root.
//!
//! The engine becomes root of a user namespace with its user as the only one. There it may make all other namespaces. It
//! has no cgroups (so no limits) and no other users inside the sandbox. Where the kernel refuses an overlay, /usr and /etc
//! are read-only.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Enters a user namespace unless the process is root. The process must have one thread.
pub fn become_root() -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    if user.is_root() {
        return Ok(());
    }
    #[allow(unsafe_code)]
    // SAFETY: the table of file descriptors is not unshared.
    unsafe {
        unshare_unsafe(UnshareFlags::NEWUSER).context(
            "without root the engine needs user namespaces, which this machine refuses to ordinary users: run it as root",
        )?;
    }
    // The kernel takes a group map of an ordinary user only after this.
    fs::write("/proc/self/setgroups", "deny").context("mapping groups")?;
    fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw())).context("mapping users")?;
    fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw())).context("mapping groups")?;
    Ok(())
}
