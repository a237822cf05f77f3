//! A wasm32 toolchain from Debian's packages, for machines that reach Debian's archive but not rustup's: there it is the only way.
//!
//! Debian ships the compiler and the library's source, but no wasm32 library. It is built once and put, with links to the
//! system's own parts, into a sysroot of ours: nothing is written outside the cache.

use super::super::Places;
use super::super::system::{self, Missing};
use super::{TARGET, has_standard_library};
use crate::progress::Step;
use crate::shell;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `rust-lld`, which links wasm, is a link into lld-22.
const PACKAGES: [&str; 6] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "rust-web-clippy", "lld-22"];
/// What the packages bring, by which one tells that they are installed.
const PROGRAMS: [&str; 5] = ["rustc", "cargo", "cargo-clippy", "clippy-driver", "rust-lld"];
const BIN: &str = "/usr/bin";
const LIBRARY_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";
/// The oldest compiler the workspace builds with, as in its Cargo.toml.
const OLDEST_MINOR: u32 = 91;

/// The toolchain built earlier from the compiler that is installed now.
pub(super) fn present(places: &Places) -> Result<Option<PathBuf>> {
    if !are_packages_installed() {
        return Ok(None);
    }
    let directory = places.cache.join(Compiler::read()?.directory_name());
    Ok(has_standard_library(&directory).then_some(directory))
}

/// Installs the packages when they are missing, builds the library (a minute), and proves the result on a small crate.
pub(super) fn build(places: &Places, step: &Step) -> Result<PathBuf> {
    if !are_packages_installed() {
        let missing = PACKAGES.map(|package| Missing { program: package, package, purpose: "building the Worker" });
        system::install(places, step, &missing)?;
    }
    let compiler = Compiler::read()?;
    if compiler.minor < OLDEST_MINOR {
        bail!("the system's rustc {} is too old: 1.{OLDEST_MINOR} is needed", compiler.version);
    }
    let name = compiler.directory_name();
    step.announce(&format!("building the {TARGET} standard library of rustc {}: a minute, once", compiler.version));
    let libraries = build_standard_library(places, step, &compiler)?;
    let staging = places.staging(&name)?;
    lay_out(&staging, &compiler, &libraries)?;
    prove(places, step, &staging)?;
    places.publish(&staging, &name)
}

/// What the system's rustc says of itself.
struct Compiler {
    version: String,
    minor: u32,
    host: String,
}

impl Compiler {
    fn read() -> Result<Self> {
        let text = shell::capture(Command::new(Path::new(BIN).join("rustc")).arg("-vV"))?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        let version = field("release:").context("rustc -vV names no release")?;
        let host = field("host:").context("rustc -vV names no host")?;
        let minor = version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0);
        Ok(Self { version, minor, host })
    }

    fn directory_name(&self) -> String {
        format!("wasm-toolchain-{}", self.version)
    }
}

/// Following links: `rust-lld` dangles until lld is installed.
fn are_packages_installed() -> bool {
    Path::new(LIBRARY_SOURCE).is_file() && PROGRAMS.iter().all(|program| Path::new(BIN).join(program).is_file())
}

/// The directory of the compiled libraries.
fn build_standard_library(places: &Places, step: &Step, compiler: &Compiler) -> Result<PathBuf> {
    // Not a staging directory: an interrupted build goes on from here.
    let seed = places.cache.join("build").join(format!("std-{}", compiler.version));
    write_crate(&seed, "[lib]\n", "#![no_std]\n")?;
    let mut build = system_cargo(&seed);
    build
        .args(["build", "--release", "--target", TARGET, "-Zbuild-std=std,panic_abort,proc_macro,test"])
        .env("RUSTC", Path::new(BIN).join("rustc"))
        // -Z flags on a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        // Without bitcode in it, `lto = true` of a crate that uses the library fails.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    shell::run_logged(&mut build, &places.log("wasm32-std"), step, None)?;
    Ok(seed.join("target").join(TARGET).join("release/deps"))
}

/// Fills `staging` so that it is a sysroot wherever it is moved to.
fn lay_out(staging: &Path, compiler: &Compiler, libraries: &Path) -> Result<()> {
    let target = staging.join("lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&target)?;
    for entry in fs::read_dir(libraries).with_context(|| format!("read {}", libraries.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rlib") {
            fs::copy(&path, target.join(path.file_name().unwrap_or_default()))?;
        }
    }
    symlink(Path::new("/usr/lib/rustlib").join(&compiler.host), staging.join("lib/rustlib").join(&compiler.host))?;
    let bin = staging.join("bin");
    fs::create_dir_all(&bin)?;
    for program in PROGRAMS.into_iter().filter(|program| *program != "rustc") {
        symlink(Path::new(BIN).join(program), bin.join(program))?;
    }
    let wrapper = bin.join("rustc");
    fs::write(&wrapper, WRAPPER)?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", wrapper.display()))
}

/// The system's compiler with the sysroot that this script lies in: two directories up, before and after the move.
const WRAPPER: &str = "#!/bin/sh\nexec /usr/bin/rustc --sysroot \"${0%/*/*}\" \"$@\"\n";

/// Builds a small crate that needs std, with link-time optimisation, as the Worker does.
fn prove(places: &Places, step: &Step, sysroot: &Path) -> Result<()> {
    let seed = sysroot.join("proof");
    let manifest = "[lib]\ncrate-type = [\"cdylib\"]\n\n[profile.release]\nlto = true\n";
    let library = "#[unsafe(no_mangle)]\npub extern \"C\" fn answer() -> usize { vec![0u8; 42].len() }\n";
    write_crate(&seed, manifest, library)?;
    let mut build = system_cargo(&seed);
    build.args(["build", "--release", "--target", TARGET]).env("RUSTC", sysroot.join("bin/rustc"));
    shell::run_logged(&mut build, &places.log("wasm32-proof"), step, None)?;
    fs::remove_dir_all(&seed).with_context(|| format!("remove {}", seed.display()))
}

/// The system's cargo in the crate at `directory`, building into its own target directory.
fn system_cargo(directory: &Path) -> Command {
    let mut command = Command::new(Path::new(BIN).join("cargo"));
    command.current_dir(directory).env("CARGO_TARGET_DIR", directory.join("target"));
    for name in ["RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command
}

fn write_crate(directory: &Path, manifest: &str, library: &str) -> Result<()> {
    let head = "[package]\nname = \"seed\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n";
    fs::create_dir_all(directory.join("src"))?;
    fs::write(directory.join("Cargo.toml"), format!("{head}{manifest}"))?;
    fs::write(directory.join("src/lib.rs"), library)?;
    Ok(())
}
