//! The topmost directory of a watch. It is opened when it is needed and not held: the kernel tells nobody of the removal of a
//! directory that somebody holds.

use std::{ffi::OsString, os::fd::OwnedFd};

use cabana_protocol::{Error, file::FilePath};
use rustix::fs::{FileType, OFlags};

use crate::{
    Agent,
    file::{
        beneath::Base,
        failure::failure,
        metadata::{file_type, look},
    },
};

/// A directory that is watched, or whose file is.
#[derive(Debug)]
pub(super) struct Top {
    agent: Agent,
    path: FilePath,
    /// The watched file's name in the directory.
    pub(super) only: Option<OsString>,
    /// Device and inode, by which it is known again.
    identity: (u32, u32, u64),
}

impl Top {
    /// What this path names.
    ///
    /// Fails with `not_found`, `forbidden`.
    pub(super) fn find(agent: Agent, path: FilePath) -> Result<Self, Error> {
        let (directory, only) = resolve(&agent, &path)?;
        let identity = identify(&path, &directory)?;
        Ok(Self { agent, path, only, identity })
    }

    /// Opens it; none when the path leads elsewhere by now.
    pub(super) fn open(&self) -> Option<Base> {
        let (directory, only) = resolve(&self.agent, &self.path).ok()?;
        let same = only == self.only && identify(&self.path, &directory).is_ok_and(|identity| identity == self.identity);
        same.then(|| Base::new(directory, self.agent.roots.confinement()))
    }
}

fn resolve(agent: &Agent, path: &FilePath) -> Result<(OwnedFd, Option<OsString>), Error> {
    let target = agent.roots.target(path)?;
    let found = target.open(OFlags::PATH)?;
    match file_type(&look(&found, c"").map_err(|errno| failure(path, errno))?) {
        FileType::Directory => Ok((found, None)),
        _ => target.follow()?.0.entry().map(|entry| (entry.parent, Some(entry.name))),
    }
}

fn identify(path: &FilePath, directory: &OwnedFd) -> Result<(u32, u32, u64), Error> {
    let stat = look(directory, c"").map_err(|errno| failure(path, errno))?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino))
}
