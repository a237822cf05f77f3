//! The root as an overlay of the host's.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, XattrFlags, open, setxattr};
use rustix::mount::{MountFlags, mount};

use super::super::mounts::{bind_read_only, directory};
use super::super::plan::Plan;
use super::inside;
use crate::layer::copy;

/// Attributes that mark a directory as opaque: the first needs the host's root, the second works in a user namespace.
///
/// With the first, directories of the layers below can be renamed, as on any other file system.
const MARKS: [(&str, &str); 2] =
    [("trusted.overlay.opaque", ",redirect_dir=on,metacopy=off"), ("user.overlay.opaque", ",userxattr")];

/// Directories whose content is made anew for each start: no layer holds any of it.
const FRESH: &[&str] = &["/run"];

/// What a commit leaves out: what is made anew for each start, and what is a mount.
pub(crate) const UNCOMMITTED: &[&str] = &["run", "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// Builds the root in the plan's scratch directory and returns its path, and its upper directory.
pub(super) fn build(plan: &Plan) -> Result<(PathBuf, OwnedFd)> {
    let upper = plan.scratch.join("upper");
    let work = plan.scratch.join("work");
    let root = plan.scratch.join("root");
    for path in [&upper, &work, &root] {
        directory(path, 0o755)?;
    }
    let (mark, options) = usable_mark(&plan.scratch)?;
    // Relative paths, because overlayfs would read a comma in a path as the end of an option.
    let lower = match below(plan) {
        Ok(lower) => lower,
        // On a host whose own root is an overlay, there may be no room for two more.
        Err(error) => {
            eprintln!("the layers are copied, because they cannot be mounted: {error:#}");
            copy_layers(plan, &upper)?;
            "/".to_owned()
        }
    };
    for private in &plan.host.private {
        let is_fresh = FRESH.iter().any(|fresh| private.path == Path::new(fresh));
        let is_there = plan.layers.iter().any(|layer| inside(layer, &private.path).symlink_metadata().is_ok());
        if is_there && !is_fresh {
            continue;
        }
        let path = inside(&upper, &private.path);
        directory(&path, private.mode)?;
        // An opaque directory of the upper layer shows nothing of the directories of that name below.
        setxattr(&path, mark, b"y", XattrFlags::empty()).context("marking a private directory")?;
    }
    std::env::set_current_dir(&plan.scratch).context("entering the scratch directory")?;
    let options = CString::new(format!("lowerdir={lower},upperdir=upper,workdir=work{options}"))?;
    mount("overlay", &root, "overlay", MountFlags::empty(), options.as_c_str()).context("mounting the overlay")?;
    for path in &plan.host.system_mounts {
        let target = inside(&root, path);
        if target.is_dir() {
            bind_read_only(path, &target)?;
        }
    }
    for place in ["proc", "sys", "dev"] {
        directory(&root.join(place), 0o755)?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let upper = open(&upper, flags, Mode::empty()).context("opening the upper directory")?;
    Ok((root, upper))
}

/// What lies below the upper directory, newest first, as the mount's option has it.
///
/// overlayfs refuses a layer that lies within another, and every layer on the host's own file system lies within its root. A second overlay
/// shows the host's root as a file system of its own.
fn below(plan: &Plan) -> Result<String> {
    let Some(layers) = plan.layers.first().and_then(|layer| layer.parent()) else { return Ok("/".to_owned()) };
    let (host, empty, store) = (plan.scratch.join("host"), plan.scratch.join("empty"), plan.scratch.join("layers"));
    for path in [&host, &empty, &store] {
        directory(path, 0o755)?;
    }
    rustix::mount::mount_bind(layers, &store).context("showing the layers")?;
    std::env::set_current_dir(&plan.scratch).context("entering the scratch directory")?;
    mount("overlay", &host, "overlay", MountFlags::RDONLY, Some(c"lowerdir=empty:/")).context("mounting the host's root")?;
    let names = plan.layers.iter().rev().filter_map(|layer| layer.file_name()).filter_map(|name| name.to_str());
    let lower: Vec<String> = names.map(|name| format!("layers/{name}")).chain(["host".to_owned()]).collect();
    Ok(lower.join(":"))
}

/// Copies the layers into the upper directory, oldest first.
fn copy_layers(plan: &Plan, upper: &Path) -> Result<()> {
    let upper = File::open(upper).context("opening the upper directory")?;
    for layer in &plan.layers {
        let layer = File::open(layer).context("opening a layer")?;
        let rules = copy::Rules { skipped: &[], limit_bytes: u64::MAX };
        copy::copy(layer.as_fd(), upper.as_fd(), rules).context("copying a layer")?;
    }
    Ok(())
}

fn usable_mark(path: &Path) -> Result<(&'static str, &'static str)> {
    MARKS
        .into_iter()
        .find(|(mark, _)| setxattr(path, *mark, b"y", XattrFlags::empty()).is_ok())
        .context("the tmpfs takes no extended attributes")
}
