//! Finding or building the tools: each step does nothing when its result is already there.

mod api_tools;
mod cargo_tools;
mod case_tools;
mod lint;
mod lockfile;
mod node;
mod system;
pub(crate) mod wasm;

use crate::paths;
use crate::progress::{Outcome, Step, say};
use anyhow::{Context, Result};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use wasm::Toolchain;

pub(crate) use api_tools::ApiTools;

/// Every tool the other commands need, ready to run.
pub(crate) struct Tools {
    /// Cargo and rustc for wasm32, with clippy.
    pub(crate) wasm: Toolchain,
    /// Builds a Worker crate into JavaScript and wasm.
    pub(crate) worker_build: PathBuf,
    /// The wasm-bindgen CLI of exactly the library's version.
    pub(crate) wasm_bindgen: PathBuf,
    /// Node and the programs of node_modules.
    pub(crate) node: node::Node,
}

/// The directories that setup reads and writes.
struct Places {
    repository: PathBuf,
    cache: PathBuf,
}

impl Places {
    fn find() -> Result<Self> {
        Ok(Self { repository: paths::repository()?, cache: paths::cache()? })
    }

    fn log(&self, step: &str) -> PathBuf {
        self.cache.join("logs").join(format!("{step}.log"))
    }

    /// Where `name` is put together before it is moved to its final place in the cache; empty at first.
    fn staging(&self, name: &str) -> Result<PathBuf> {
        let staging = self.cache.join(format!("{name}.partial"));
        if staging.exists() {
            fs::remove_dir_all(&staging).with_context(|| format!("remove {}", staging.display()))?;
        }
        fs::create_dir_all(&staging).with_context(|| format!("create {}", staging.display()))?;
        Ok(staging)
    }

    /// Moves what was put together to its final place, in one step: it is never seen half done.
    fn publish(&self, staging: &Path, name: &str) -> Result<PathBuf> {
        let place = self.cache.join(name);
        if place.exists() {
            fs::remove_dir_all(&place).with_context(|| format!("remove {}", place.display()))?;
        }
        fs::rename(staging, &place).with_context(|| format!("move {} into place", place.display()))?;
        Ok(place)
    }
}

/// Finds or builds everything. Safe against several at once: the steps run under a lock in the cache.
pub(crate) fn run() -> Result<Tools> {
    let places = Places::find()?;
    let _lock = lock(&places.cache)?;
    let versions = lockfile::Versions::read(&places.repository.join("Cargo.lock"))?;
    let wasm = Step::run("wasm32 target", |step| wasm::provide(&places, step))?;
    let worker_build =
        Step::run("worker-build", |step| cargo_tools::provide(&places, step, "worker-build", "worker-build", &versions.worker))?;
    let wasm_bindgen = Step::run("wasm-bindgen", |step| {
        cargo_tools::provide(&places, step, "wasm-bindgen-cli", "wasm-bindgen", &versions.wasm_bindgen)
    })?;
    let node = Step::run("node, wrangler", |step| node::provide(&places, step))?;
    Ok(Tools { wasm, worker_build, wasm_bindgen, node })
}

/// Finds rustfmt and clippy, which only the checks need.
pub(crate) fn provide_lint_tools() -> Result<()> {
    let places = Places::find()?;
    let _lock = lock(&places.cache)?;
    Step::run("lint tools", |step| lint::provide(&places, step))
}

/// Finds the programs that the integration cases run.
pub(crate) fn provide_case_tools() -> Result<()> {
    let places = Places::find()?;
    let _lock = lock(&places.cache)?;
    Step::run("programs of the cases", |step| case_tools::provide(&places, step))
}

/// Finds or installs what judges and fuzzes the API.
pub(crate) fn provide_api_tools() -> Result<ApiTools> {
    let places = Places::find()?;
    let _lock = lock(&places.cache)?;
    Step::run("tools for the API", |step| api_tools::provide(&places, step))
}

/// Finds or builds cargo-fuzz, which only fuzzing needs.
pub(crate) fn provide_cargo_fuzz() -> Result<PathBuf> {
    const VERSION: &str = "0.13.2";
    let places = Places::find()?;
    let _lock = lock(&places.cache)?;
    Step::run("cargo-fuzz", |step| cargo_tools::provide(&places, step, "cargo-fuzz", "cargo-fuzz", VERSION))
}

/// Finds ripgrep, which only the benchmark needs, or asks the system for it.
pub(crate) fn provide_ripgrep() -> Result<PathBuf> {
    let places = Places::find()?;
    let _lock = lock(&places.cache)?;
    if paths::which("rg").is_none() {
        Step::run("ripgrep", |step| Ok((Outcome::Done("installed".to_owned()), system::install(&places, step, &["ripgrep"])?)))?;
    }
    paths::which("rg").context("ripgrep is not on the search path")
}

/// Waits until no other setup runs. The lock ends with the returned file, or with this process.
fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("setup.lock");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say(" . waiting for another setup to finish");
            file.lock().with_context(|| format!("lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("lock {}", path.display())),
    }
    Ok(file)
}
