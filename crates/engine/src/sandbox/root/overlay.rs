//! The root as an overlay of the host's.

use std::ffi::CString;
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::fs::{XattrFlags, setxattr};
use rustix::mount::{MountFlags, mount};

use super::super::mounts::{bind_read_only, directory};
use super::super::plan::Plan;
use super::{inside, write_hosts};

/// Attributes that mark a directory as opaque: the first needs the host's root, the second works in a user namespace.
const MARKS: [(&str, &str); 2] = [("trusted.overlay.opaque", ""), ("user.overlay.opaque", ",userxattr")];

/// Builds the root in the plan's scratch directory and returns its path.
pub(super) fn build(plan: &Plan) -> Result<PathBuf> {
    let upper = plan.scratch.join("upper");
    let work = plan.scratch.join("work");
    let root = plan.scratch.join("root");
    for path in [&upper, &work, &root] {
        directory(path, 0o755)?;
    }
    let mut option = None;
    for private in &plan.host.private {
        let path = inside(&upper, &private.path);
        directory(&path, private.mode)?;
        // An opaque directory of the upper layer shows nothing of the host's directory of that name.
        let (mark, user) = match option {
            Some(marks) => marks,
            None => usable_mark(&path)?,
        };
        setxattr(&path, mark, b"y", XattrFlags::empty()).context("marking a private directory")?;
        option = Some((mark, user));
    }
    let user = option.map_or("", |(_, user)| user);
    // Relative paths, because overlayfs would read a comma in the state directory's path as the end of an option.
    std::env::set_current_dir(&plan.scratch).context("entering the scratch directory")?;
    let options = CString::new(format!("lowerdir=/,upperdir=upper,workdir=work{user}"))?;
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
    write_hosts(&root, &plan.hostname)?;
    Ok(root)
}

fn usable_mark(path: &std::path::Path) -> Result<(&'static str, &'static str)> {
    MARKS
        .into_iter()
        .find(|(mark, _)| setxattr(path, *mark, b"y", XattrFlags::empty()).is_ok())
        .context("the tmpfs takes no extended attributes")
}
