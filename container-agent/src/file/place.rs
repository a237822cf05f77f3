//! Directories beneath the roots for others to work in.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use cabana_protocol::{Error, file::FilePath};
use rustix::fs::OFlags;

use super::{blocking, blocking_next, directory, failure::failure, root::Roots, tree};
use crate::Agent;

/// Opens a directory.
pub(crate) async fn open_directory(agent: &Agent, path: FilePath) -> Result<OwnedFd, Error> {
    blocking(agent, move |roots| roots.target(&path)?.open(OFlags::PATH | OFlags::DIRECTORY)).await
}

/// Opens the last directory on a path that exists, and gives the rest of the path, in which there is no `..`.
pub(crate) async fn open_nearest(agent: &Agent, path: FilePath) -> Result<(OwnedFd, PathBuf), Error> {
    blocking(agent, move |roots| roots.target(&path)?.nearest()).await
}

/// Takes back what somebody has put into a directory, and the directory unless it was there before.
pub(crate) async fn take_back(agent: &Agent, path: FilePath, stays: bool) -> Result<(), Error> {
    let take = move |roots: &Roots| {
        if !stays {
            return directory::remove(roots, &path, true);
        }
        let directory = roots.target(&path)?.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
        tree::clear(directory.as_fd()).map_err(|errno| failure(&path, errno))
    };
    blocking_next(agent, take).await
}
