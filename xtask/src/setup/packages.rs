//! Programs that come as npm packages which only some tests need: pinned by a lock file of their own, in the cache.

use super::Places;
use super::node::{self, Node};
use super::stamp::Stamp;
use crate::progress::{Outcome, Step};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages of one lock file.
pub(crate) struct NpmTools {
    modules: PathBuf,
    search_path: OsString,
}

impl NpmTools {
    /// A program of the packages, which finds the pinned Node.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.modules.join(".bin").join(name));
        command.env("PATH", &self.search_path);
        command
    }

    /// The pinned Node.
    pub(crate) fn node(&self) -> Command {
        let mut command = Command::new("node");
        command.env("PATH", &self.search_path);
        command
    }

    /// Where the packages are.
    pub(crate) fn modules(&self) -> &Path {
        &self.modules
    }
}

/// Finds the packages `name`, which the lock file beside this `package.json` of the repository pins, or installs them.
pub(super) fn provide(places: &Places, step: &Step, name: &str, manifest: &str, node: &Node) -> Result<(Outcome, NpmTools)> {
    let manifest = places.repository.join(manifest);
    let lock = manifest.with_file_name("package-lock.json");
    let stamp = Stamp::of(&lock)?;
    let place = places.cache.join(format!("{name}-{}", stamp.text()));
    let tools = NpmTools { modules: place.join("node_modules"), search_path: node.search_path().clone() };
    if stamp.is_on(&place) {
        return Ok((Outcome::Present("npm packages".to_owned()), tools));
    }
    step.announce("npm ci: installing what its lock file pins");
    let staging = places.staging(name)?;
    for file in [&manifest, &lock] {
        let copied = file.file_name().map(|name| fs::copy(file, staging.join(name)));
        copied.transpose().with_context(|| format!("copy {}", file.display()))?;
    }
    node::install(places, step, &staging, name)?;
    stamp.put_on(&staging)?;
    places.publish(&staging, &format!("{name}-{}", stamp.text()))?;
    Ok((Outcome::Done("npm packages".to_owned()), tools))
}
