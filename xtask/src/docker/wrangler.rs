//! What wrangler and workerd need of Docker.

use super::client::Build;
use super::images::QUICK_AGENT;
use super::{Bases, Daemon, Docker};
use crate::artifacts;
use crate::progress::{Outcome, Step};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The stand-in for Cloudflare's network sidecar.
const EGRESS: &str = "cabana-test/egress";
/// The command line that wrangler calls. It asks for flags of the plugin buildx, also where the command line has none, and downloads the
/// sidecar, also where the daemon has it. The images of a local run build on the stand-ins, and with a quickly compiled agent.
const WRAPPER: &str = r#"#!/bin/sh
case "$1" in
build)
    shift
    for argument do
        shift
        case "$argument" in
        @dropped@) ;;
        *) set -- "$@" "$argument" ;;
        esac
    done
    set -- build @arguments@ "$@"
    ;;
pull)
    if '@program@' image inspect "$2" >/dev/null 2>&1; then exit 0; fi
    ;;
esac
exec '@program@' "$@"
"#;
/// What only the plugin knows.
const PLUGIN_FLAGS: &str = "--load | --provenance=*";

/// Docker as wrangler uses it. Dropping it ends a daemon that was started for it.
pub(crate) struct WranglerDocker {
    docker: Docker,
    program: PathBuf,
    /// Where nobody else keeps it.
    _daemon: Option<Daemon>,
    has_stand_ins: bool,
}

impl WranglerDocker {
    /// Finds or starts the daemon, and writes the command line for wrangler into `directory`.
    pub(crate) fn provide(root: &Path, directory: &Path) -> Result<Self> {
        Step::run("docker", |step| {
            let daemon = Daemon::provide(step).context("without --engine docker, no Docker is needed")?;
            let bases = Bases::provide(&daemon, root, step)?;
            let mut docker = Self::beside(daemon.docker(), &bases, root, directory, step)?;
            docker._daemon = Some(daemon);
            let version = docker.docker.server_version().unwrap_or_default();
            Ok((Outcome::Done(format!("version {version}")), docker))
        })
    }

    /// Writes the command line for wrangler into `directory`. Its daemon must outlive it.
    pub(crate) fn beside(docker: &Docker, bases: &Bases, root: &Path, directory: &Path, step: &Step) -> Result<Self> {
        let arguments = bases.arguments();
        let has_stand_ins = !arguments.is_empty();
        if has_stand_ins {
            let context = root.join("tests/images");
            let dockerfile = context.join("egress.Dockerfile");
            let build = Build { tag: EGRESS, dockerfile: &dockerfile, context: &context, arguments: arguments.clone() };
            docker.build(&build, &artifacts::log(root, "image-egress"), step)?;
        }
        let program = directory.join("docker");
        let quick = (QUICK_AGENT.0, QUICK_AGENT.1.to_owned());
        let arguments = arguments.iter().chain([&quick]).map(|(name, value)| format!("--build-arg {name}={value}"));
        let arguments: Vec<String> = arguments.collect();
        let dropped = if docker.has_plugin() { "''" } else { PLUGIN_FLAGS };
        let script = WRAPPER.replace("@dropped@", dropped).replace("@arguments@", &arguments.join(" "));
        let script = script.replace("@program@", &docker.program().display().to_string());
        fs::write(&program, script).with_context(|| format!("write {}", program.display()))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
        Ok(Self { docker: docker.clone(), program, _daemon: None, has_stand_ins })
    }

    /// Makes a wrangler command use this Docker.
    pub(crate) fn configure(&self, command: &mut Command) {
        command.env("WRANGLER_DOCKER_BIN", &self.program).envs(self.docker.environment());
        if self.has_stand_ins {
            command.env("MINIFLARE_CONTAINER_EGRESS_IMAGE", EGRESS);
        }
    }
}
