//! What is compiled from this repository before anything runs: agent, engine, Worker.

pub(crate) mod size;
mod wasm_opt;

use crate::progress::{Outcome, Step};
use crate::setup::Tools;
use crate::{paths, setup, shell};
use anyhow::{Context, Result};
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use wasm_opt::WasmOpt;

/// How the agent and the engine are compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// With debug assertions and overflow checks; shares its compile graph with the tests.
    Dev,
    /// As it ships.
    Release,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }

    /// Its directory below target/.
    fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// The programs that a run needs.
pub(crate) struct Programs {
    /// The process inside the sandbox.
    pub(crate) agent: PathBuf,
    /// The Docker-free container engine.
    pub(crate) engine: PathBuf,
}

/// Builds the agent and the engine.
pub(crate) fn build_programs(profile: Profile) -> Result<Programs> {
    Step::run("agent, engine", |step| {
        let root = paths::repository()?;
        let mut build = Command::new(cargo());
        build.args(["build", "--profile", profile.name(), "--package", "cabana-agent", "--package", "cabana-engine"]);
        shell::run_logged(build.current_dir(&root), &log(&root, "programs"), step, None)?;
        let directory = target(&root).join(profile.directory());
        let programs = Programs { agent: directory.join("cabana-agent"), engine: directory.join("cabana-engine") };
        Ok((Outcome::Done("built".to_owned()), programs))
    })
}

/// Builds the `cabana` command.
pub(crate) fn build_command() -> Result<PathBuf> {
    Step::run("command", |step| {
        let root = paths::repository()?;
        let mut build = Command::new(cargo());
        build.args(["build", "--package", "cabana-cli"]).current_dir(&root);
        shell::run_logged(&mut build, &log(&root, "command"), step, None)?;
        Ok((Outcome::Done("built".to_owned()), target(&root).join(Profile::Dev.directory()).join("cabana")))
    })
}

/// Builds the Worker as it is deployed into worker/build.
pub(crate) fn build_worker() -> Result<()> {
    let tools = setup::run()?;
    let root = paths::repository()?;
    let _lock = lock_worker(&root)?;
    compile_worker(&root, &tools, WasmOpt::Run)
}

/// Builds the Worker and copies it to `directory`: no later build changes it during a run.
pub(crate) fn build_worker_into(tools: &Tools, directory: &Path, wasm_opt: WasmOpt) -> Result<()> {
    let root = paths::repository()?;
    let _lock = lock_worker(&root)?;
    compile_worker(&root, tools, wasm_opt)?;
    copy_files(&root.join("worker/build"), directory)
}

/// Builds the Workers of these packages, by name and folder, each into a directory of its name in `directory`.
pub(crate) fn build_examples(tools: &Tools, packages: &[(&str, &str)], directory: &Path, step: &Step) -> Result<()> {
    let root = paths::repository()?;
    let _lock = lock_worker(&root)?;
    // All in one invocation, which compiles them side by side: what follows finds them done.
    let mut compile = tools.wasm.cargo("build")?;
    compile.current_dir(&root).args(["--target", setup::wasm::TARGET, "--profile", WasmOpt::Skip.profile()]);
    compile.args(packages.iter().flat_map(|(name, _)| ["--package", name]));
    // As worker-build sets them.
    compile.env("CARGO_TARGET_DIR", wasm_target(&root)).env("WASM_BINDGEN_USE_JS_SYS", "1");
    shell::run_logged(&mut compile, &log(&root, "examples"), step, None)?;
    for (name, folder) in packages {
        let output = directory.join(name);
        let mut build = worker_build(&root, tools, WasmOpt::Skip);
        build.current_dir(root.join(folder)).arg("--no-opt").arg("--out-dir").arg(&output);
        tools.wasm.configure(&mut build, tools.node.search_path())?;
        shell::run_logged(&mut build, &log(&root, &format!("example-{name}")), step, None)?;
    }
    Ok(())
}

/// The tool that makes a Worker of a crate, as far as all are alike.
fn worker_build(root: &Path, tools: &Tools, wasm_opt: WasmOpt) -> Command {
    let mut build = Command::new(&tools.worker_build);
    build
        .args(["--profile", wasm_opt.profile()])
        .env("WASM_BINDGEN_BIN", &tools.wasm_bindgen)
        .env("ESBUILD_BIN", tools.node.program("esbuild"))
        // Native builds lock target/: the two may run at once.
        .env("CARGO_TARGET_DIR", wasm_target(root));
    build
}

fn compile_worker(root: &Path, tools: &Tools, wasm_opt: WasmOpt) -> Result<()> {
    Step::run("worker", |step| {
        let mut build = worker_build(root, tools, wasm_opt);
        build.current_dir(root.join("worker/module")).args(["--out-dir", "../build"]);
        match wasm_opt {
            WasmOpt::Skip => {
                build.arg("--no-opt");
            }
            WasmOpt::Run => {
                let kept = target(root).join("xtask/wasm-opt");
                wasm_opt::keep_output(&mut build, root, &tools.node.program("wasm-opt"), &kept);
            }
        }
        tools.wasm.configure(&mut build, tools.node.search_path())?;
        shell::run_logged(&mut build, &log(root, "worker"), step, None)?;
        let size = fs::metadata(root.join("worker/build/index_bg.wasm")).context("find the built wasm")?.len();
        Ok((Outcome::Done(format!("built, {} KiB of wasm", size / 1024)), ()))
    })
}

/// Cargo, as the one that runs this program.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Cargo's target directory for native code.
pub(crate) fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |directory| root.join(directory))
}

/// Cargo's target directory for the Worker.
pub(crate) fn wasm_target(root: &Path) -> PathBuf {
    target(root).join("wasm")
}

/// Where the log of a step is.
pub(crate) fn log(root: &Path, name: &str) -> PathBuf {
    target(root).join("xtask").join(format!("{name}.log"))
}

/// One build of the Worker at a time, its copying included.
fn lock_worker(root: &Path) -> Result<File> {
    let directory = target(root).join("xtask");
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let file = File::create(directory.join("worker.lock")).context("create the Worker's build lock")?;
    file.lock().context("lock the Worker's build")?;
    Ok(file)
}

/// Copies the plain files of one directory; worker-build's output has no more.
pub(crate) fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).with_context(|| format!("copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}
