//! Finding or building the tools: each step does nothing when its result is already there.

mod cargo_tools;
mod kernels;
mod lint;
mod lockfile;
mod node;
mod packages;
mod programs;
mod python;
mod stamp;
mod system;
pub(crate) mod wasm;

use crate::paths;
use crate::progress::{Outcome, Step};
use anyhow::{Context, Result};
use cargo_tools::CargoTool;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use system::Missing;
use wasm::Toolchain;

pub(crate) use node::Node;
pub(crate) use packages::NpmTools;
pub(crate) use python::PythonTools;

/// Every tool the other commands need, ready to run.
pub(crate) struct Tools {
    /// Cargo and rustc for wasm32, with clippy.
    pub(crate) wasm: Toolchain,
    /// Builds a Worker crate into JavaScript and wasm.
    pub(crate) worker_build: PathBuf,
    /// The wasm-bindgen CLI of exactly the library's version.
    pub(crate) wasm_bindgen: PathBuf,
    /// Node and the programs of node_modules.
    pub(crate) node: Node,
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

    /// Runs a step that no other process takes meanwhile.
    fn step<T>(&self, name: &str, work: impl FnOnce(&Step) -> Result<(Outcome, T)>) -> Result<T> {
        Step::run(name, |step| {
            let _lock = lock(&self.cache, name, step)?;
            work(step)
        })
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

/// Finds or builds everything that the Worker needs. Safe against several at once: each step has a lock in the cache.
pub(crate) fn run() -> Result<Tools> {
    let places = Places::find()?;
    node::check(&places)?;
    thread::scope(|scope| {
        // npm waits for the network and the disk while the compilers work.
        let node = scope.spawn(|| places.step("node, wrangler", |step| node::provide(&places, step)));
        let tools = compiled_tools(&places);
        let node = node.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (wasm, worker_build, wasm_bindgen) = tools?;
        Ok(Tools { wasm, worker_build, wasm_bindgen, node: node? })
    })
}

fn compiled_tools(places: &Places) -> Result<(Toolchain, PathBuf, PathBuf)> {
    let versions = lockfile::Versions::read(&places.repository.join("Cargo.lock"))?;
    let wasm = places.step("wasm32 target", |step| wasm::provide(places, step))?;
    let worker_build =
        CargoTool { package: "worker-build", program: "worker-build", version: &versions.worker, default_features: true };
    let worker_build = places.step("worker-build", |step| cargo_tools::provide(places, step, &worker_build))?;
    let wasm_bindgen = CargoTool {
        package: "wasm-bindgen-cli",
        program: "wasm-bindgen",
        version: &versions.wasm_bindgen,
        // TLS, with which its test runner fetches drivers of browsers.
        default_features: false,
    };
    let wasm_bindgen = places.step("wasm-bindgen", |step| cargo_tools::provide(places, step, &wasm_bindgen))?;
    Ok((wasm, worker_build, wasm_bindgen))
}

/// Finds or installs Node and the programs of node_modules, wrangler among them.
pub(crate) fn provide_node() -> Result<Node> {
    let places = Places::find()?;
    node::check(&places)?;
    places.step("node, wrangler", |step| node::provide(&places, step))
}

/// Finds or adds the wasm32 target, all that linting the Worker needs.
pub(crate) fn provide_wasm() -> Result<Toolchain> {
    let places = Places::find()?;
    places.step("wasm32 target", |step| wasm::provide(&places, step))
}

/// Finds rustfmt and clippy, which only the checks need.
pub(crate) fn provide_lint_tools() -> Result<()> {
    let places = Places::find()?;
    places.step("lint tools", |step| lint::provide(&places, step))
}

/// Finds or installs cargo-deny; gives the command up to its arguments.
pub(crate) fn provide_deny() -> Result<Command> {
    let places = Places::find()?;
    places.step("cargo-deny", |step| lint::provide_deny(&places, step))
}

/// Finds the programs that the integration cases run.
pub(crate) fn provide_programs() -> Result<()> {
    let places = Places::find()?;
    places.step("programs of the cases", |step| programs::provide(&places, step))
}

/// Finds Docker's daemon and command line, or installs them where that is allowed.
pub(crate) fn provide_docker() -> Result<()> {
    let places = Places::find()?;
    places.step("docker", |step| programs::provide_docker(&places, step))
}

/// Finds debootstrap, which makes base images, or installs it where that is allowed.
pub(crate) fn provide_debootstrap() -> Result<()> {
    let places = Places::find()?;
    places.step("debootstrap", |step| programs::provide_debootstrap(&places, step))
}

/// Finds the browser that one case of the whole service runs.
pub(crate) fn provide_browser() -> Result<PathBuf> {
    let places = Places::find()?;
    places.step("browser", |step| programs::provide_browser(&places, step))
}

/// Finds or installs openapi-spec-validator and schemathesis, which judge and fuzz the API.
pub(crate) fn provide_api_tools() -> Result<PythonTools> {
    let places = Places::find()?;
    places.step("tools for the API", |step| python::provide(&places, step, "api-tools", "tests/openapi/requirements.txt"))
}

/// Finds or installs what the Python client needs and is tested with.
pub(crate) fn provide_client_tools() -> Result<PythonTools> {
    let places = Places::find()?;
    places.step("tools for Python", |step| python::provide(&places, step, "client-tools", "clients/python/requirements.txt"))
}

/// Finds or installs the Python client of MCP, which the gateway is tested with.
pub(crate) fn provide_mcp_tools() -> Result<PythonTools> {
    let places = Places::find()?;
    places.step("client of MCP", |step| python::provide(&places, step, "mcp-tools", "tests/mcp/requirements.txt"))
}

/// Finds or installs paramiko, by which programs use SSH.
pub(crate) fn provide_ssh_tools() -> Result<PythonTools> {
    let places = Places::find()?;
    places.step("client of SSH", |step| python::provide(&places, step, "ssh-tools", "tests/ssh/requirements.txt"))
}

/// Finds or installs the sandbox clients of the OpenAI Agents SDKs, which the bridge is tested with.
pub(crate) fn provide_bridge_tools(node: &Node) -> Result<(PythonTools, NpmTools)> {
    let places = Places::find()?;
    let (name, requirements, manifest) = ("bridge-tools", "tests/bridge/requirements.txt", "tests/bridge/package.json");
    let python = places.step("bridge's clients", |step| python::provide(&places, step, name, requirements))?;
    let npm = places.step("bridge's clients", |step| packages::provide(&places, step, "bridge-npm", manifest, node))?;
    Ok((python, npm))
}

/// Finds or installs generators of clients, which are given the API's description.
pub(crate) fn provide_generators(node: &Node) -> Result<(PythonTools, NpmTools)> {
    let places = Places::find()?;
    let name = "generators";
    let requirements = "tests/generators/requirements.txt";
    let python = places.step("generators in Python", |step| python::provide(&places, step, name, requirements))?;
    let manifest = "tests/generators/package.json";
    let npm =
        places.step("generators in TypeScript", |step| packages::provide(&places, step, "generators-npm", manifest, node))?;
    Ok((python, npm))
}

/// Finds or installs test suites of other people's products.
pub(crate) fn provide_suites() -> Result<PythonTools> {
    let places = Places::find()?;
    places.step("suites of others", |step| python::provide(&places, step, "suites", "tests/suites/requirements.txt"))
}

/// Finds or installs kernels of Jupyter, with which sandboxes of this machine run code; gives their directory.
pub(crate) fn provide_kernels() -> Result<PathBuf> {
    let places = Places::find()?;
    places.step("kernels", |step| kernels::provide(&places, step))
}

/// Finds or builds cargo-fuzz, which only fuzzing needs.
pub(crate) fn provide_cargo_fuzz() -> Result<PathBuf> {
    let places = Places::find()?;
    let tool = CargoTool { package: "cargo-fuzz", program: "cargo-fuzz", version: "0.13.2", default_features: true };
    places.step("cargo-fuzz", |step| cargo_tools::provide(&places, step, &tool))
}

/// Finds ripgrep, which only the benchmark needs, or installs it where that is allowed.
pub(crate) fn provide_ripgrep() -> Result<PathBuf> {
    let places = Places::find()?;
    if paths::which("rg").is_none() {
        let missing = [Missing { program: "rg", package: "ripgrep", purpose: "the comparison of the benchmark" }];
        places.step("ripgrep", |step| Ok((Outcome::Done("installed".to_owned()), system::install(&places, step, &missing)?)))?;
    }
    paths::which("rg").context("ripgrep is not on the search path")
}

/// Waits until no other process takes the step of this name. The lock ends with the returned file, or with this process.
fn lock(cache: &Path, name: &str, step: &Step) -> Result<File> {
    let directory = cache.join("locks");
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let slug: String = name.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '-' }).collect();
    let path = directory.join(slug);
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            step.announce("waiting for another setup to finish");
            file.lock().with_context(|| format!("lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("lock {}", path.display())),
    }
    Ok(file)
}
