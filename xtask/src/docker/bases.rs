//! The base images: those that the Dockerfiles name, or local stand-ins where these cannot be downloaded.
//!
//! The stand-ins are Debian by debootstrap, with this machine's certificates; Debian's Python in place of Python's own image; and this
//! machine's Rust toolchain on Debian in place of Rust's image on Alpine, so the agent links glibc in place of musl. They are named by
//! what they were made from and stay in the daemon.

use super::client::Build;
use super::{Daemon, Docker};
use crate::progress::Step;
use crate::{artifacts, paths, setup, shell};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The release of Debian that the Dockerfile's own base has.
const RELEASE: &str = "bookworm";
/// The image that the Dockerfile names by itself.
const PUBLIC: &str = "debian:bookworm-slim";
/// Longest time that a download of it may take before it counts as impossible.
const PULL: Duration = Duration::from_secs(120);
/// Longest time for Debian's packages.
const BOOTSTRAP: Duration = Duration::from_secs(15 * 60);
/// Where a Debian system keeps the certificates that its programs trust.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";
/// Where it takes further ones from.
const LOCAL_CERTIFICATES: &str = "usr/local/share/ca-certificates";

/// What the Dockerfiles build on.
pub(crate) enum Bases {
    /// What they name themselves.
    Public,
    /// Stand-ins of these names.
    Local { debian: String, rust: String, python: String },
}

impl Bases {
    /// Finds the images, or makes the stand-ins. A daemon of our own gets stand-ins, so that what is tested does not depend on a
    /// registry.
    pub(crate) fn provide(daemon: &Daemon, root: &Path, step: &Step) -> Result<Self> {
        let docker = daemon.docker();
        if !daemon.is_own() && (docker.has_image(PUBLIC) || pull(docker, root, step)) {
            return Ok(Self::Public);
        }
        let certificates = machine_certificates();
        let debian = name("debian", &[RELEASE, &certificates]);
        if !docker.has_image(&debian) {
            setup::provide_debootstrap()?;
            step.announce("making a Debian image, once");
            bootstrap(docker, &debian, &certificates, root, step)?;
        }
        let images = root.join("tests/images");
        let toolchain = shell::capture(rustc().arg("-vV"))?;
        let sysroot = PathBuf::from(shell::capture(rustc().args(["--print", "sysroot"]))?);
        let rust = derive(docker, "rust", &debian, &images, &sysroot, &toolchain, root, step)?;
        let python = derive(docker, "python", &debian, &images, &images, "", root, step)?;
        Ok(Self::Local { debian, rust, python })
    }

    /// The arguments of the Dockerfiles that name them. Each takes those that it knows.
    pub(crate) fn arguments(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Public => Vec::new(),
            Self::Local { debian, rust, python } => {
                vec![("BASE_IMAGE", debian.clone()), ("RUST_IMAGE", rust.clone()), ("PYTHON_IMAGE", python.clone())]
            }
        }
    }

    /// What they are, in words.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Public => "on the Dockerfiles' own bases",
            Self::Local { .. } => "on local stand-ins for the Dockerfiles' bases, the agent with glibc",
        }
    }
}

fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn pull(docker: &Docker, root: &Path, step: &Step) -> bool {
    let log = artifacts::log(root, "image-pull");
    shell::run_logged(&mut docker.command(["pull", "--quiet", PUBLIC]), &log, step, Some(PULL)).is_ok()
}

/// Builds a stand-in from its Dockerfile in `images`, which adds to Debian's.
#[allow(clippy::too_many_arguments, reason = "each is a different thing, and there are two callers")]
fn derive(
    docker: &Docker,
    kind: &str,
    debian: &str,
    images: &Path,
    context: &Path,
    source: &str,
    root: &Path,
    step: &Step,
) -> Result<String> {
    let dockerfile = images.join(format!("{kind}.Dockerfile"));
    let text = fs::read_to_string(&dockerfile).with_context(|| format!("read {}", dockerfile.display()))?;
    let tag = name(kind, &[debian, &text, source]);
    if !docker.has_image(&tag) {
        step.announce(&format!("making an image with {kind}, once"));
        let arguments = vec![("BASE_IMAGE", debian.to_owned())];
        let build = Build { tag: &tag, dockerfile: &dockerfile, context, arguments };
        docker.build(&build, &artifacts::log(root, &format!("image-base-{kind}")), step)?;
    }
    Ok(tag)
}

/// A stand-in's name, by what it is made from.
fn name(kind: &str, source: &[&str]) -> String {
    let digest = Sha256::digest(source.join("\0"));
    let digest = digest.iter().take(6).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    format!("cabana-base/{kind}:{digest}")
}

/// Debian's smallest system, as an image.
fn bootstrap(docker: &Docker, name: &str, certificates: &str, root: &Path, step: &Step) -> Result<()> {
    let system = super::directory(&paths::cache()?).join("debian.partial");
    remove(&system)?;
    let mut debootstrap = Command::new("unshare");
    // With the mounts of its own namespace nothing of the machine can be left mounted in the directory.
    debootstrap.args(["--mount", "debootstrap", "--variant=minbase", "--include=ca-certificates", RELEASE]).arg(&system);
    shell::run_logged(&mut debootstrap, &artifacts::log(root, "debootstrap"), step, Some(BOOTSTRAP))?;
    for lists in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        remove(&system.join(lists))?;
        fs::create_dir_all(system.join(lists).join("partial"))?;
    }
    trust(&system, certificates)?;
    let mut tar =
        Command::new("tar").arg("-C").arg(&system).args(["-c", "."]).stdout(Stdio::piped()).spawn().context("start tar")?;
    let archive = tar.stdout.take().context("tar has no output")?;
    let imported = docker.import(archive.into(), name);
    let status = tar.wait().context("wait for tar")?;
    imported?;
    anyhow::ensure!(status.success(), "tar failed ({status})");
    remove(&system)
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    Ok(())
}

/// Adds certificates to those that the system trusts.
fn trust(system: &Path, certificates: &str) -> Result<()> {
    let known = fs::read_to_string(system.join(CERTIFICATES)).context("read the certificates of the new system")?;
    let known: BTreeSet<&str> = split(&known).collect();
    let further = system.join(LOCAL_CERTIFICATES);
    fs::create_dir_all(&further)?;
    for (number, certificate) in split(certificates).filter(|certificate| !known.contains(certificate)).enumerate() {
        fs::write(further.join(format!("machine-{number}.crt")), format!("{certificate}\n"))?;
    }
    shell::capture(Command::new("chroot").arg(system).arg("update-ca-certificates")).map(drop)
}

/// The certificates that this machine trusts: those of a proxy in front of its network among them.
fn machine_certificates() -> String {
    let file = std::env::var_os("SSL_CERT_FILE").map_or_else(|| Path::new("/").join(CERTIFICATES), PathBuf::from);
    fs::read_to_string(file).unwrap_or_default()
}

/// The certificates of a file in PEM.
fn split(text: &str) -> impl Iterator<Item = &str> {
    const END: &str = "-----END CERTIFICATE-----";
    text.split_inclusive(END).filter_map(|part| part.find("-----BEGIN CERTIFICATE-----").map(|start| &part[start..]))
}

#[cfg(test)]
mod tests {
    use super::{name, split};

    #[test]
    fn certificates_are_told_apart_whatever_stands_between_them() {
        let one = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----";
        let two = "-----BEGIN CERTIFICATE-----\nBB\n-----END CERTIFICATE-----";
        let text = format!("# first\n{one}\n\n# second\n{two}\n");
        assert_eq!(split(&text).collect::<Vec<_>>(), [one, two]);
        assert_eq!(split("").count(), 0);
    }

    #[test]
    fn a_stand_in_has_another_name_when_it_is_made_from_something_else() {
        let first = name("rust", &["bookworm", "1.95"]);
        assert!(first.starts_with("cabana-base/rust:"), "{first}");
        assert_eq!(first, name("rust", &["bookworm", "1.95"]));
        assert_ne!(first, name("rust", &["bookworm", "1.96"]));
        assert_ne!(name("rust", &["ab", "c"]), name("rust", &["a", "bc"]));
    }
}
