//! A real Docker daemon, and the images of this repository's Dockerfiles.
//!
//! The tests of the image use the daemon that runs on this machine. Where none runs, root gets one for the run (`daemon.rs`). Base
//! images that cannot be downloaded are made from Debian's packages and this machine's toolchain (`bases.rs`).

mod bases;
mod client;
mod daemon;
mod images;
mod wrangler;

pub(crate) use bases::Bases;
pub(crate) use client::Docker;
pub(crate) use daemon::Daemon;
pub(crate) use images::Image;
pub(crate) use wrangler::WranglerDocker;

use std::path::{Path, PathBuf};

/// The directory of Docker's things in the cache: the data of a daemon of our own, and the directories of its runs.
fn directory(cache: &Path) -> PathBuf {
    cache.join("docker")
}
