//! A Rust toolchain that compiles for wasm32-unknown-unknown.

mod debian;

use super::Places;
use crate::progress::{Outcome, Step};
use crate::{paths, shell};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The Worker's target.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
/// How long rustup may take to fetch the target: 30 MB.
const RUSTUP_LIMIT: Duration = Duration::from_secs(300);

/// The toolchain that builds and lints the Worker.
pub(crate) enum Toolchain {
    /// The one this program was built with.
    Current,
    /// A directory of ours over the system's compiler, laid out as a sysroot.
    Private(PathBuf),
}

impl Toolchain {
    /// Prepares `program` (cargo, or something that runs cargo or rustc) to use this toolchain.
    pub(crate) fn configure(&self, command: &mut Command, search_path: &std::ffi::OsStr) -> Result<()> {
        match self {
            Self::Current => {
                command.env("PATH", search_path);
            }
            Self::Private(sysroot) => {
                let bin = sysroot.join("bin");
                let path = std::env::join_paths(std::iter::once(bin.clone()).chain(std::env::split_paths(search_path)))?;
                command.env("PATH", path).env("RUSTC", bin.join("rustc"));
                // clippy-driver takes its standard library from here; it is not started through our rustc.
                command.env("SYSROOT", sysroot);
                // What the outer cargo set for its own toolchain is not ours.
                for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTDOC", "LD_LIBRARY_PATH"] {
                    command.env_remove(name);
                }
            }
        }
        Ok(())
    }

    /// A cargo subcommand under this toolchain, up to its name: `build`, `clippy`.
    pub(crate) fn cargo(&self, subcommand: &str) -> Result<Command> {
        let search_path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = match (self, subcommand) {
            (Self::Current, _) => Command::new("cargo"),
            // Cargo would look for cargo-clippy in its home first, where rustup's may be.
            (Self::Private(sysroot), "clippy") => Command::new(sysroot.join("bin/cargo-clippy")),
            (Self::Private(sysroot), _) => Command::new(sysroot.join("bin/cargo")),
        };
        self.configure(&mut command, &search_path)?;
        command.arg(subcommand);
        Ok(command)
    }
}

/// Finds the target, asks rustup for it, or builds it from Debian's packages; in this order.
pub(super) fn provide(places: &Places, step: &Step) -> Result<(Outcome, Toolchain)> {
    if let Ok(sysroot) = sysroot_of("rustc")
        && has_standard_library(&sysroot)
    {
        let version = shell::capture(Command::new("rustc").arg("--version"))?;
        return Ok((Outcome::Present(version), Toolchain::Current));
    }
    if let Some(private) = debian::present(places)? {
        return Ok((Outcome::Present(name_of(&private)), Toolchain::Private(private)));
    }
    match add_with_rustup(places, step) {
        Ok(true) => return Ok((Outcome::Done("added by rustup".to_owned()), Toolchain::Current)),
        Ok(false) => {}
        Err(_) => step.announce(&format!("rustup could not add {TARGET}: building it from the system's packages")),
    }
    let private = debian::build(places, step).with_context(|| {
        format!("no way to a Rust toolchain for {TARGET}; with rustup, `rustup target add {TARGET}` is the usual one")
    })?;
    Ok((Outcome::Done(name_of(&private)), Toolchain::Private(private)))
}

/// False when there is no rustup, or its toolchain is not the one in use.
fn add_with_rustup(places: &Places, step: &Step) -> Result<bool> {
    if paths::which("rustup").is_none() {
        return Ok(false);
    }
    step.announce(&format!("rustup target add {TARGET}"));
    let mut add = Command::new("rustup");
    shell::run_logged(add.args(["target", "add", TARGET]), &places.log("rustup"), step, Some(RUSTUP_LIMIT))?;
    Ok(has_standard_library(&sysroot_of("rustc")?))
}

fn sysroot_of(rustc: &str) -> Result<PathBuf> {
    shell::capture(Command::new(rustc).args(["--print", "sysroot"])).map(PathBuf::from)
}

/// Whether the target's compiled standard library is in the sysroot.
fn has_standard_library(sysroot: &Path) -> bool {
    let Ok(entries) = fs::read_dir(sysroot.join("lib/rustlib").join(TARGET).join("lib")) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

fn name_of(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
