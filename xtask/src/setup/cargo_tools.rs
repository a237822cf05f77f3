//! Tools that come from the Cargo registry as source.

use super::Places;
use crate::progress::{Outcome, Step};
use crate::shell;
use anyhow::Result;
use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The `program` of `package` at exactly `version`, from the cache, or built into it (minutes).
pub(super) fn provide(places: &Places, step: &Step, package: &str, program: &str, version: &str) -> Result<(Outcome, PathBuf)> {
    let name = format!("{package}-{version}");
    let program = PathBuf::from("bin").join(program);
    let present = places.cache.join(&name).join(&program);
    if present.is_file() {
        return Ok((Outcome::Present(version.to_owned()), present));
    }
    step.announce(&format!("building {name} from source: some minutes, once"));
    let staging = places.staging(&name)?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Without --locked: the lock file that worker-build ships may name a release the registry no longer serves.
    let mut install = Command::new(cargo);
    install
        .args(["install", package, "--version", &format!("={version}"), "--no-track", "--root"])
        .arg(&staging)
        // An interrupted build goes on from here.
        .env("CARGO_TARGET_DIR", places.cache.join("build/tools"))
        .env_remove("CARGO_BUILD_TARGET")
        .current_dir(&places.cache);
    shell::run_logged(&mut install, &places.log(&name), step, None)?;
    Ok((Outcome::Done(version.to_owned()), places.publish(&staging, &name)?.join(program)))
}
