//! The programs that the integration cases run, in the sandbox and outside. Any way to have them on the search path will do.

use super::Places;
use super::system::{self, Missing};
use crate::paths;
use crate::progress::{Outcome, Step};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// What every target's cases run.
const PROGRAMS: [Missing; 15] = [
    Missing { program: "bash", package: "bash", purpose: "the cases that compare with bash" },
    Missing { program: "cmp", package: "diffutils", purpose: "the cases of files" },
    Missing { program: "curl", package: "curl", purpose: "the tour of the README" },
    Missing { program: "gcc", package: "gcc", purpose: "the case that builds LZ4" },
    Missing { program: "git", package: "git", purpose: "the cases of git" },
    Missing { program: "kill", package: "procps", purpose: "the cases of processes" },
    Missing { program: "less", package: "less", purpose: "the cases of terminals" },
    Missing { program: "make", package: "make", purpose: "the case that builds LZ4" },
    Missing { program: "pgrep", package: "procps", purpose: "the cases of processes" },
    Missing { program: "python3", package: "python3", purpose: "programs of the cases" },
    Missing { program: "ssh", package: "openssh-client", purpose: "the cases of SSH" },
    Missing { program: "tar", package: "tar", purpose: "the cases of archives" },
    Missing { program: "top", package: "procps", purpose: "the cases of terminals" },
    Missing { program: "tput", package: "ncurses-bin", purpose: "the cases of terminals" },
    Missing { program: "vim", package: "vim", purpose: "the cases of terminals" },
];

/// The browser of the case that reloads a page, which runs on the whole service only.
const BROWSER: Missing = Missing { program: "chromium", package: "chromium", purpose: "the case of hot reload in previews" };

/// What runs containers of the real image: its package brings the command line too.
const DOCKER: [Missing; 2] = [
    Missing { program: "dockerd", package: "docker.io", purpose: "the cases in the image" },
    Missing { program: "iptables", package: "iptables", purpose: "the network of Docker's containers" },
];

/// What makes a base image from Debian's packages.
const DEBOOTSTRAP: Missing = Missing { program: "debootstrap", package: "debootstrap", purpose: "the base images of the image" };

/// What the browser is called elsewhere.
const BROWSERS: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// Finds the programs, and installs what is missing where that is allowed.
pub(super) fn provide(places: &Places, step: &Step) -> Result<(Outcome, ())> {
    provide_all(places, step, &PROGRAMS)
}

/// Finds Docker, and installs it where that is allowed.
pub(super) fn provide_docker(places: &Places, step: &Step) -> Result<(Outcome, ())> {
    provide_all(places, step, &DOCKER)
}

/// Finds debootstrap, and installs it where that is allowed.
pub(super) fn provide_debootstrap(places: &Places, step: &Step) -> Result<(Outcome, ())> {
    provide_all(places, step, &[DEBOOTSTRAP])
}

fn provide_all(places: &Places, step: &Step, programs: &[Missing]) -> Result<(Outcome, ())> {
    let missing: Vec<Missing> = programs.iter().copied().filter(|one| paths::which(one.program).is_none()).collect();
    let names = programs.iter().map(|one| one.program).collect::<Vec<_>>().join(", ");
    if missing.is_empty() {
        return Ok((Outcome::Present(names), ()));
    }
    system::install(places, step, &missing)?;
    Ok((Outcome::Done(names), ()))
}

/// Finds the browser, and installs it where that is allowed.
pub(super) fn provide_browser(places: &Places, step: &Step) -> Result<(Outcome, PathBuf)> {
    if let Some(path) = browser() {
        return Ok((Outcome::Present(path.display().to_string()), path));
    }
    system::install(places, step, &[BROWSER])?;
    let path = browser().context("the package chromium brought no program of that name")?;
    Ok((Outcome::Done(path.display().to_string()), path))
}

fn browser() -> Option<PathBuf> {
    BROWSERS.into_iter().find_map(paths::which)
}
