//! Node, and the programs that package-lock.json pins.

use super::Places;
use crate::progress::{Outcome, Step};
use crate::{paths, shell};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest Node that wrangler runs on.
const OLDEST: (u32, u32) = (22, 12);
/// The programs that a finished `npm ci` leaves behind.
const PROGRAMS: [&str; 5] = ["node", "esbuild", "workerd", "wrangler", "wasm-opt"];

/// Node and node_modules.
pub(crate) struct Node {
    modules: PathBuf,
    search_path: OsString,
}

impl Node {
    /// A program of node_modules, which finds the right Node.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.program(program));
        command.env("PATH", &self.search_path);
        command
    }

    /// The path of a program of node_modules.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.modules.join(".bin").join(name)
    }

    /// The search path on which the right Node comes first.
    pub(crate) fn search_path(&self) -> &OsString {
        &self.search_path
    }
}

/// Installs what package-lock.json lists, unless it is there already.
pub(super) fn provide(places: &Places, step: &Step) -> Result<(Outcome, Node)> {
    let modules = places.repository.join("node_modules");
    let present = is_installed(&places.repository);
    if !present {
        let npm = paths::which("npm").context("npm is missing: install Node.js with npm (Debian: nodejs npm)")?;
        step.announce("npm ci: installing what package-lock.json pins");
        let mut install = Command::new(npm);
        install.args(["ci", "--no-audit", "--no-fund", "--include=dev", "--loglevel=error"]);
        shell::run_logged(install.current_dir(&places.repository), &places.log("npm-ci"), step, None)?;
    }
    let (node, search_path) = find_node(&modules)?;
    let wrangler = package_version(&modules.join("wrangler")).unwrap_or_default();
    let text = format!("node {node}, wrangler {wrangler}");
    let outcome = if present { Outcome::Present(text) } else { Outcome::Done(text) };
    Ok((outcome, Node { modules, search_path }))
}

/// The pinned Node when it runs here (it is built for glibc), else the machine's own when it is new enough.
fn find_node(modules: &Path) -> Result<(String, OsString)> {
    let pinned = modules.join(".bin/node");
    if let Ok(version) = shell::capture(Command::new(&pinned).arg("--version")) {
        return Ok((version, paths::search_path(&modules.join(".bin"))?));
    }
    let own = shell::capture(Command::new("node").arg("--version")).unwrap_or_default();
    if !is_new_enough(&own) {
        bail!("needs Node {}.{} or newer; the pinned one does not run here and the machine has {own:?}", OLDEST.0, OLDEST.1);
    }
    Ok((own, std::env::var_os("PATH").unwrap_or_default()))
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST
}

/// Whether node_modules holds what the lock file lists: npm writes its own record of it last.
fn is_installed(repository: &Path) -> bool {
    let packages = |path: &str| -> Option<Value> {
        let lock: Value = serde_json::from_str(&fs::read_to_string(repository.join(path)).ok()?).ok()?;
        Some(lock["packages"].clone())
    };
    let bin = repository.join("node_modules/.bin");
    match (packages("package-lock.json"), packages("node_modules/.package-lock.json")) {
        (Some(wanted), Some(found)) => holds(&found, &wanted) && PROGRAMS.iter().all(|name| bin.join(name).exists()),
        _ => false,
    }
}

/// Whether every package of `wanted` is in `found` at the same version; optional ones, made for other systems, may be absent.
fn holds(found: &Value, wanted: &Value) -> bool {
    let Some(wanted) = wanted.as_object() else { return false };
    wanted.iter().filter(|(path, _)| !path.is_empty()).all(|(path, package)| match found.get(path) {
        Some(present) => present["version"] == package["version"],
        None => package["optional"] == true,
    })
}

fn package_version(package: &Path) -> Option<String> {
    let text = fs::read_to_string(package.join("package.json")).ok()?;
    let manifest: Value = serde_json::from_str(&text).ok()?;
    manifest["version"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{holds, is_new_enough};
    use serde_json::json;

    #[test]
    fn wrangler_needs_node_22_12() {
        assert!(is_new_enough("v22.12.0") && is_new_enough("v24.0.1"));
        assert!(!is_new_enough("v22.11.9") && !is_new_enough("v20.20.2") && !is_new_enough(""));
    }

    #[test]
    fn only_optional_packages_may_be_absent() {
        let wanted = json!({"": {}, "a": {"version": "1"}, "b": {"version": "2", "optional": true}});
        assert!(holds(&json!({"a": {"version": "1"}}), &wanted));
        assert!(!holds(&json!({"b": {"version": "2"}}), &wanted));
        assert!(!holds(&json!({"a": {"version": "1"}, "b": {"version": "3"}}), &wanted));
    }
}
