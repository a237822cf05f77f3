//! The root as read-only views of the host's directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount_bind};

use super::super::mounts::{bind_read_only_recursive, directory, tmpfs};
use super::super::plan::Plan;
use super::inside;

/// Directories of the host's root that are mounted separately or are not needed inside.
const EXCLUDED: &[&str] = &["/boot", "/dev", "/lost+found", "/media", "/mnt", "/proc", "/sys"];

/// Builds the root in the plan's scratch directory and returns its path.
pub(super) fn build(plan: &Plan) -> Result<PathBuf> {
    let root = plan.scratch.join("assembled");
    directory(&root, 0o755)?;
    // Only a mount point can become the root.
    mount_bind(&root, &root).context("binding the new root")?;
    for entry in fs::read_dir("/").context("listing the host's root")? {
        show(&root, plan, &entry?.path())?;
    }
    for place in ["proc", "sys", "dev"] {
        directory(&root.join(place), 0o755)?;
    }
    for private in &plan.host.private {
        let path = inside(&root, &private.path);
        if path.is_dir() {
            tmpfs(&path, MountFlags::NODEV, &format!("mode={:o}", private.mode))?;
        } else {
            directory(&path, private.mode)?;
        }
    }
    Ok(root)
}

/// Shows one entry of the host's root directory.
fn show(root: &Path, plan: &Plan, path: &Path) -> Result<()> {
    let target = inside(root, path);
    let kind = fs::symlink_metadata(path)?.file_type();
    let private = plan.host.private.iter().any(|private| private.path == path);
    if private || EXCLUDED.iter().any(|excluded| path == Path::new(excluded)) {
        return Ok(());
    }
    if kind.is_symlink() {
        symlink(fs::read_link(path)?, &target)?;
    } else if kind.is_dir() {
        directory(&target, 0o755)?;
        bind_read_only_recursive(path, &target)?;
    }
    Ok(())
}
