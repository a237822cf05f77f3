//! Running without root.
//!
//! The engine becomes root of a user namespace in which its user is the only one. There it may make all other
//! namespaces. What it cannot have: cgroups (hence no limits), other users inside the sandbox, and, where the
//! kernel refuses an overlay, a writable /usr or /etc.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Enters a user namespace unless the process is root already. The process must have one thread.
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
