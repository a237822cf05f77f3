//! Node, and the programs that package-lock.json pins.

use super::Places;
use super::stamp::Stamp;
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
    let lock = places.repository.join("package-lock.json");
    let stamp = Stamp::of(&lock)?;
    let present = is_present(&modules, &stamp);
    if !present {
        step.announce("npm ci: installing what package-lock.json pins");
        install(places, step, &places.repository, "npm-ci")?;
        stamp.put_on(&modules)?;
    }
    let (node, search_path) = find_node(&modules)?;
    let wrangler = package_version(&modules.join("wrangler")).unwrap_or_default();
    let text = format!("node {node}, wrangler {wrangler}");
    let outcome = if present { Outcome::Present(text) } else { Outcome::Done(text) };
    Ok((outcome, Node { modules, search_path }))
}

/// Installs what the lock file in this directory lists.
pub(super) fn install(places: &Places, step: &Step, directory: &Path, log: &str) -> Result<()> {
    let mut install = Command::new(npm()?);
    // It says what it fetches, by which its progress is known.
    install.args(["ci", "--no-audit", "--no-fund", "--include=dev", "--loglevel=http"]);
    let packages = packages(&directory.join("package-lock.json"));
    shell::run_measured(install.current_dir(directory), &places.log(log), step, None, |log| fetched(log, packages))
}

/// Fails where the modules can neither be found nor installed: better before minutes of compiling than after.
pub(super) fn check(places: &Places) -> Result<()> {
    let stamp = Stamp::of(&places.repository.join("package-lock.json"))?;
    if is_present(&places.repository.join("node_modules"), &stamp) { Ok(()) } else { npm().map(drop) }
}

fn is_present(modules: &Path, stamp: &Stamp) -> bool {
    stamp.is_on(modules) && PROGRAMS.iter().all(|name| modules.join(".bin").join(name).exists())
}

fn npm() -> Result<PathBuf> {
    paths::which("npm").context("npm is missing: install Node.js with npm (Debian: nodejs npm) and start again")
}

/// How many packages a lock file lists; optional ones, made for other systems, are not counted.
fn packages(lock: &Path) -> usize {
    let lock: Value = fs::read_to_string(lock).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let listed = lock["packages"].as_object().into_iter().flatten();
    listed.filter(|(path, package)| !path.is_empty() && package["optional"] != true).count()
}

/// How far npm is by its log. Packages that are in npm's cache are not fetched.
fn fetched(log: &Path, packages: usize) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let fetched = text.lines().filter(|line| line.starts_with("npm http ") && line.contains(".tgz ")).count();
    format!("{} of {packages} packages", fetched.min(packages))
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

fn package_version(package: &Path) -> Option<String> {
    let text = fs::read_to_string(package.join("package.json")).ok()?;
    let manifest: Value = serde_json::from_str(&text).ok()?;
    manifest["version"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{fetched, is_new_enough};
    use std::fs;

    #[test]
    fn wrangler_needs_node_22_12() {
        assert!(is_new_enough("v22.12.0") && is_new_enough("v24.0.1"));
        assert!(!is_new_enough("v22.11.9") && !is_new_enough("v20.20.2") && !is_new_enough(""));
    }

    #[test]
    fn npms_progress_is_counted_in_packages() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(
            &log,
            "npm http fetch GET 200 /a 1ms\nnpm http fetch GET 200 /a/-/a-1.tgz 3ms\nnpm http cache /b/-/b-2.tgz 0ms\n",
        )
        .unwrap();
        assert_eq!(fetched(&log, 5), "2 of 5 packages");
    }
}
