//! Tools that come from the Cargo registry as source.

use super::Places;
use crate::artifacts;
use crate::progress::{Outcome, Step};
use crate::shell;
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// A program of a package.
pub(super) struct CargoTool<'a> {
    pub(super) package: &'a str,
    pub(super) program: &'a str,
    /// Exactly this one.
    pub(super) version: &'a str,
    /// Whether the package's default features are of use here.
    pub(super) default_features: bool,
}

/// How the tools are compiled: they run for seconds, and with full optimization they take minutes to build.
const PROFILE: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

/// The tool, from the cache, or built into it.
pub(super) fn provide(places: &Places, step: &Step, tool: &CargoTool<'_>) -> Result<(Outcome, PathBuf)> {
    let name = format!("{}-{}", tool.package, tool.version);
    let program = PathBuf::from("bin").join(tool.program);
    let present = places.cache.join(&name).join(&program);
    if present.is_file() {
        return Ok((Outcome::Present(tool.version.to_owned()), present));
    }
    step.announce(&format!("building {name} from source, once"));
    let staging = places.staging(&name)?;
    // Without --locked: the lock file that worker-build ships may name a release the registry no longer serves.
    let mut install = Command::new(artifacts::cargo());
    install
        .args([
            "install",
            tool.package,
            "--version",
            &format!("={}", tool.version),
            "--bin",
            tool.program,
            "--no-track",
            "--root",
        ])
        .arg(&staging)
        .envs(PROFILE)
        // An interrupted build goes on from here.
        .env("CARGO_TARGET_DIR", places.cache.join("build/tools"))
        .env_remove("CARGO_BUILD_TARGET")
        .current_dir(&places.cache);
    if !tool.default_features {
        install.arg("--no-default-features");
    }
    shell::run_logged(&mut install, &places.log(&name), step, None)?;
    Ok((Outcome::Done(tool.version.to_owned()), places.publish(&staging, &name)?.join(program)))
}
