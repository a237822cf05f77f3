//! Directories beneath the roots for others to work in.

use std::{os::fd::OwnedFd, path::PathBuf};

use cabana_protocol::{Error, file::FilePath};
use rustix::fs::OFlags;

use super::blocking;
use crate::Agent;

/// Opens a directory.
pub(crate) async fn open_directory(agent: &Agent, path: FilePath) -> Result<OwnedFd, Error> {
    blocking(agent, move |roots| roots.target(&path)?.open(OFlags::PATH | OFlags::DIRECTORY)).await
}

/// Opens the last directory on a path that exists, and gives the rest of the path, in which there is no `..`.
pub(crate) async fn open_nearest(agent: &Agent, path: FilePath) -> Result<(OwnedFd, PathBuf), Error> {
    blocking(agent, move |roots| roots.target(&path)?.nearest()).await
}
