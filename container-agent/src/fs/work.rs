//! Work on files: done on threads that may block, as the user whom commands run as.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use cabana_protocol::{Code, Error, file::FilePath};
use rustix::fs::OFlags;
use tokio::time::Instant;

use super::{AsUser, Roots, clear_directory, errno_error, remove_tree};
use crate::threads::{self, Length};

/// The sandbox's files, and whose those are that are made. Clones are cheap and mean the same.
#[derive(Debug, Clone)]
pub struct FileSystem(Arc<State>);

#[derive(Debug)]
struct State {
    roots: Roots,
    user: Option<AsUser>,
    /// How long short work may take.
    timeout: Duration,
}

impl FileSystem {
    /// These roots. What is made belongs to this user, if it is not the agent's own.
    pub fn new(roots: Roots, user: Option<AsUser>, timeout: Duration) -> Self {
        Self(Arc::new(State { roots, user, timeout }))
    }

    /// Where operations reach.
    pub fn roots(&self) -> &Roots {
        &self.0.roots
    }

    /// Does short work.
    ///
    /// Fails with `too_many_requests` when no thread is free in time, `timeout` when the file system does not answer.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Roots) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.run_for(Length::Short, work).await
    }

    /// Does work of this length.
    ///
    /// Fails with `too_many_requests` when no thread is free in time.
    pub(crate) async fn run_for<T: Send + 'static>(
        &self,
        length: Length,
        work: impl FnOnce(&Roots) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let work = async { threads::run(length, self.as_user(work)).await? };
        if length == Length::Short { self.in_time(work).await } else { work.await }
    }

    /// Does long work that is worth nothing after this moment.
    ///
    /// Fails with `too_many_requests` when no thread is free by then.
    pub(crate) async fn run_before<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&Roots) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        threads::run_before(deadline, self.as_user(work)).await?
    }

    /// Does short work that is part of something that has begun: it waits for a thread as long as it takes.
    pub(crate) async fn run_next<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Roots) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let done = async {
            let done = threads::run_next(self.as_user(work)).await;
            done.unwrap_or_else(|| Err(Error::internal("the operation panicked")))
        };
        self.in_time(done).await
    }

    /// Gives up work on a file system that does not answer. Its thread waits on, since nothing can call it back, and may still succeed.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let timeout = self.0.timeout;
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
            let message = format!("the file system did not answer within {} ms", timeout.as_millis());
            Err(Error::new(Code::Timeout, message))
        })
    }

    fn as_user<T>(
        &self,
        work: impl FnOnce(&Roots) -> Result<T, Error> + Send + 'static,
    ) -> impl FnOnce() -> Result<T, Error> + Send + 'static {
        let fs = self.clone();
        move || {
            let guard = fs.0.user.as_ref().map(AsUser::enter).transpose();
            let _guard = guard.map_err(|errno| Error::internal(format!("cannot make files for the sandbox's user: {errno}")))?;
            work(fs.roots())
        }
    }

    /// Opens a directory for others to work in.
    pub(crate) async fn open_directory(&self, path: FilePath) -> Result<OwnedFd, Error> {
        self.run(move |roots| roots.target(&path)?.open(OFlags::PATH | OFlags::DIRECTORY)).await
    }

    /// The same, for what changes it.
    pub(crate) async fn open_directory_to_change(&self, path: FilePath) -> Result<OwnedFd, Error> {
        self.run(move |roots| roots.target_to_change(&path)?.open(OFlags::PATH | OFlags::DIRECTORY)).await
    }

    /// Opens the last directory on a path that exists, and gives the rest of the path, in which there is no `..`.
    pub(crate) async fn open_nearest(&self, path: FilePath) -> Result<(OwnedFd, PathBuf), Error> {
        self.run(move |roots| roots.target_to_change(&path)?.nearest()).await
    }

    /// Removes what was put into a directory, and the directory too unless it stays.
    pub(crate) async fn remove_content(&self, path: FilePath, stays: bool) -> Result<(), Error> {
        let remove = move |roots: &Roots| {
            let target = roots.target_to_change(&path)?;
            let removed = if stays {
                clear_directory(target.open(OFlags::RDONLY | OFlags::DIRECTORY)?.as_fd())
            } else {
                remove_tree(&target.entry()?)
            };
            removed.map_err(|errno| errno_error(&path, errno))
        };
        self.run_next(remove).await
    }
}
