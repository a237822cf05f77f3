//! What `cabana init` writes is compiled as users have it: each example in a folder and a workspace of its own.

use crate::artifacts;
use crate::progress::Step;
use crate::setup::{self, Tools};
use crate::shell;
use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

/// Has `command`, the program `cabana`, write an example into a folder, and compiles it there.
///
/// It names the library as of crates.io. This repository's stands in for that one, and its Cargo.lock says which versions everything else has: they
/// are there already, as the examples themselves were compiled with them.
pub(super) fn compile(root: &Path, tools: &Tools, command: &Path, example: &str, step: &Step) -> Result<()> {
    let folder = artifacts::target(root).join("xtask/init").join(example);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context("remove what was written before"),
        _ => {}
    }
    let log = |name: &str| artifacts::log(root, &format!("init-{example}-{name}"));
    let mut init = Command::new(command);
    init.arg("init").arg(example).arg("--directory").arg(&folder);
    shell::run_logged(&mut init, &log("write"), step, None)?;
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).context("copy Cargo.lock")?;
    let library = root.join("crates/cabana");
    let mut check = tools.wasm.cargo("check")?;
    check.current_dir(&folder).args(["--offline", "--target", setup::wasm::TARGET, "--config"]);
    check.arg(format!("patch.crates-io.cabana.path={:?}", library.to_str().context("the repository's path is no text")?));
    check.env("CARGO_TARGET_DIR", artifacts::wasm_target(root));
    shell::run_logged(&mut check, &log("check"), step, None)
}
