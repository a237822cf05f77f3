//! Docker's command line, as far as it can build with BuildKit, which the Dockerfiles need for their cache mounts.

use crate::progress::Step;
use crate::shell;
use anyhow::{Context, Result, bail};
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The name of the program.
const PROGRAM: &str = "docker";
/// The first version that builds with BuildKit by a plugin only.
const PLUGIN_VERSION: u32 = 23;
/// Longest time for one build; a first one downloads and compiles everything.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// How a command line builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Builder {
    /// By its plugin buildx.
    Plugin,
    /// By itself, when the environment asks for it.
    Integrated,
}

/// A command line, and the daemon that it speaks to.
#[derive(Debug, Clone)]
pub(crate) struct Docker {
    program: PathBuf,
    builder: Builder,
    /// The daemon's address; none: what the environment says.
    host: Option<String>,
}

/// What is built into an image.
pub(crate) struct Build<'a> {
    /// The image's name.
    pub(crate) tag: &'a str,
    pub(crate) dockerfile: &'a Path,
    /// The directory that the Dockerfile copies from.
    pub(crate) context: &'a Path,
    pub(crate) arguments: Vec<(&'a str, String)>,
}

impl Docker {
    /// The first command line on the search path that can build with BuildKit.
    pub(crate) fn find() -> Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut programs = env::split_paths(&path).map(|directory| directory.join(PROGRAM)).filter(|program| program.is_file());
        let found = programs.find_map(|program| Some(Self { builder: builder(&program)?, program, host: None }));
        found.context(
            "no docker command line can build with BuildKit: install Debian's docker.io, or docker-buildx beside another",
        )
    }

    /// The same command line, for the daemon at this socket.
    pub(crate) fn at(&self, socket: &Path) -> Self {
        Self { host: Some(format!("unix://{}", socket.display())), ..self.clone() }
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Whether it builds by the plugin buildx, which has further flags.
    pub(crate) fn has_plugin(&self) -> bool {
        self.builder == Builder::Plugin
    }

    /// The variables that name the daemon and choose the builder.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("DOCKER_BUILDKIT", "1".to_owned())];
        variables.extend(self.host.iter().map(|host| ("DOCKER_HOST", host.clone())));
        variables
    }

    /// The command line with these arguments.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).envs(self.environment());
        command
    }

    /// The daemon's version, if it answers.
    pub(crate) fn server_version(&self) -> Option<String> {
        let version = shell::capture(&mut self.command(["version", "--format", "{{.Server.Version}}"])).ok()?;
        (!version.is_empty()).then_some(version)
    }

    /// Whether the daemon has an image of this name.
    pub(crate) fn has_image(&self, name: &str) -> bool {
        shell::capture(&mut self.command(["image", "inspect", "--format", "{{.Id}}", name])).is_ok()
    }

    /// Builds an image, its output in `log`.
    pub(crate) fn build(&self, build: &Build<'_>, log: &Path, step: &Step) -> Result<()> {
        let mut command = self.command(["build", "--progress", "plain", "--tag", build.tag, "--file"]);
        command.arg(build.dockerfile);
        // Without it, some builders keep the image to themselves.
        command.args(self.has_plugin().then_some("--load"));
        for (name, value) in &build.arguments {
            command.args(["--build-arg", &format!("{name}={value}")]);
        }
        shell::run_logged(command.arg(build.context), log, step, Some(BUILD_LIMIT))
    }

    /// Makes an image of an archive of its files.
    pub(crate) fn import(&self, archive: Stdio, name: &str) -> Result<()> {
        let output = self.command(["import", "-", name]).stdin(archive).output().context("start docker import")?;
        if !output.status.success() {
            bail!("docker import {name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

/// How the command line builds; none where it cannot use BuildKit.
fn builder(program: &Path) -> Option<Builder> {
    if shell::capture(Command::new(program).args(["buildx", "version"])).is_ok() {
        return Some(Builder::Plugin);
    }
    let version = shell::capture(Command::new(program).arg("--version")).ok()?;
    (major(&version)? < PLUGIN_VERSION).then_some(Builder::Integrated)
}

/// The first number of `Docker version 20.10.24+dfsg1, build 297e128`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    number.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Builder, builder, major};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_version_is_read_from_the_words_around_it() {
        assert_eq!(major("Docker version 20.10.24+dfsg1, build 297e128"), Some(20));
        assert_eq!(major("podman version"), None);
    }

    #[test]
    fn a_command_line_builds_by_its_plugin_or_else_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let check = |name: &str, script: &str| {
            let program = directory.path().join(name);
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            builder(&program)
        };
        assert_eq!(check("new", "[ $1 = buildx ]"), Some(Builder::Plugin));
        assert_eq!(check("old", "[ $1 = --version ] && echo Docker version 20.10.24, build 1"), Some(Builder::Integrated));
        assert_eq!(check("bare", "[ $1 = --version ] && echo Docker version 28.2.2, build 1"), None);
    }
}
