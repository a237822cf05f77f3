//! Files, confined to the sandbox's roots by the kernel ([`root`]). System calls run on threads that may block.

pub mod archive;
mod beneath;
mod cancel;
mod conditions;
mod confinement;
mod content;
mod copy;
mod directory;
mod edit;
mod failure;
mod find;
mod globs;
mod level;
mod lines;
mod list;
mod media_type;
mod metadata;
mod nearest;
mod owner;
mod patch;
mod permissions;
mod place;
mod read;
mod replaced;
mod root;
mod search;
mod target;
mod temporary;
mod tree;
mod upload;
mod walk;
mod watch;

/// What fuzzing calls.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz {
    pub use super::{archive::fuzz::archive, confinement::fuzz::path, globs::fuzz::glob, patch::fuzz::patch};
}

pub use conditions::{Conditions, Tags};
pub use confinement::Confinement;
pub use content::{Opened, open};
pub use owner::{Making, Owner};
pub(crate) use place::{open_directory, open_nearest, take_back};
pub use root::Roots;
pub use upload::Upload;
pub use watch::Polled;

use cabana_protocol::{
    Error,
    file::{
        Chmod, Content, Copied, Copy, Done, Edit, Edited, FilePath, Find, Found, List, Listing, MAX_CONTENT_BYTES, Metadata,
        Mkdir, Move, Patch, Patched, Read, Remove, Search, Searched, Stat, Symlink, Write, Written,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    Agent,
    dispatch::Handle,
    limits,
    threads::{self, Length},
};
use cancel::Halt;

/// Does file work on a thread that may block. What it makes belongs to the user whom commands run as.
///
/// Fails with `too_many_requests` when no thread is free in time.
pub(crate) async fn blocking<T: Send + 'static>(
    agent: &Agent,
    work: impl FnOnce(&Roots) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    blocking_for(Length::Short, agent, work).await
}

/// [`blocking`] for work of this length.
pub(crate) async fn blocking_for<T: Send + 'static>(
    length: Length,
    agent: &Agent,
    work: impl FnOnce(&Roots) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    threads::run(length, as_owner(agent, work)).await?
}

/// [`blocking`] work that is part of something that has begun: it waits for a thread as long as it takes.
pub(crate) async fn blocking_next<T: Send + 'static>(
    agent: &Agent,
    work: impl FnOnce(&Roots) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = threads::run_next(as_owner(agent, work)).await;
    done.unwrap_or_else(|| Err(Error::internal("the operation panicked")))
}

/// The work, done as the user whom commands run as.
fn as_owner<T>(
    agent: &Agent,
    work: impl FnOnce(&Roots) -> Result<T, Error> + Send + 'static,
) -> impl FnOnce() -> Result<T, Error> + Send + 'static {
    let agent = agent.clone();
    move || {
        let making = agent.owner.as_ref().map(Owner::make).transpose();
        let _making = making.map_err(|errno| Error::internal(format!("cannot make files for the sandbox's user: {errno}")))?;
        work(&agent.roots)
    }
}

/// [`blocking_for`] work that is told when the caller goes away.
async fn cancellable<T: Send + 'static>(
    length: Length,
    agent: &Agent,
    work: impl FnOnce(&Roots, &CancellationToken) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let cancel = CancellationToken::new();
    let _gone = cancel.clone().drop_guard();
    blocking_for(length, agent, move |roots| work(roots, &cancel)).await
}

/// The same for work that goes through whole trees, of which there is only so much at once. Waiting for its turn is part of its time.
async fn searching<T: Send + 'static>(
    agent: &Agent,
    timeout_ms: Option<u64>,
    work: impl FnOnce(&Roots, &Halt<'_>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let deadline = walk::deadline(timeout_ms)?;
    let place = tokio::time::timeout_at(deadline.into(), agent.searches.clone().acquire_owned()).await;
    let place = place.map_err(|_| limits::reached(agent.limits.searches, "searches are under way"))?;
    cancellable(Length::Long, agent, move |roots, cancel| {
        let _place = place;
        work(roots, &Halt::new(cancel, deadline))
    })
    .await
}

impl Handle<Read> for Agent {
    async fn handle(&self, request: Read) -> Result<Content, Error> {
        cancellable(Length::Short, self, move |roots, cancel| read::read(roots, &request, cancel)).await
    }
}

impl Handle<Write> for Agent {
    async fn handle(&self, request: Write) -> Result<Written, Error> {
        if request.content.0.len() as u64 > MAX_CONTENT_BYTES {
            return Err(failure::too_large("file.write", MAX_CONTENT_BYTES));
        }
        blocking(self, move |roots| upload::write(roots, &request)).await
    }
}

impl Handle<Stat> for Agent {
    async fn handle(&self, request: Stat) -> Result<Metadata, Error> {
        blocking(self, move |roots| metadata::stat(roots, request.path)).await
    }
}

impl Handle<List> for Agent {
    async fn handle(&self, request: List) -> Result<Listing, Error> {
        cancellable(Length::Short, self, move |roots, cancel| list::list(roots, &request, cancel)).await
    }
}

impl Handle<Mkdir> for Agent {
    async fn handle(&self, request: Mkdir) -> Result<Done, Error> {
        blocking(self, move |roots| directory::make(roots, &request.path, request.parents)).await.map(|()| Done {})
    }
}

impl Handle<Remove> for Agent {
    async fn handle(&self, request: Remove) -> Result<Done, Error> {
        // A tree may be of any size.
        let length = if request.recursive { Length::Long } else { Length::Short };
        let remove = move |roots: &Roots| directory::remove(roots, &request.path, request.recursive);
        blocking_for(length, self, remove).await.map(|()| Done {})
    }
}

impl Handle<Move> for Agent {
    async fn handle(&self, request: Move) -> Result<Done, Error> {
        let Move { from, to } = request;
        blocking(self, move |roots| directory::rename(roots, &from, &to)).await.map(|()| Done {})
    }
}

impl Handle<Copy> for Agent {
    async fn handle(&self, request: Copy) -> Result<Copied, Error> {
        cancellable(Length::Long, self, move |roots, cancel| copy::copy(roots, &request, cancel)).await
    }
}

impl Handle<Symlink> for Agent {
    async fn handle(&self, request: Symlink) -> Result<Done, Error> {
        blocking(self, move |roots| directory::symlink(roots, &request)).await.map(|()| Done {})
    }
}

impl Handle<Chmod> for Agent {
    async fn handle(&self, request: Chmod) -> Result<Done, Error> {
        blocking(self, move |roots| permissions::change(roots, &request)).await.map(|()| Done {})
    }
}

impl Handle<Find> for Agent {
    async fn handle(&self, request: Find) -> Result<Found, Error> {
        searching(self, request.timeout_ms, move |roots, halt| find::find(roots, &request, halt)).await
    }
}

impl Handle<Search> for Agent {
    async fn handle(&self, request: Search) -> Result<Searched, Error> {
        searching(self, request.timeout_ms, move |roots, halt| search::search(roots, &request, halt)).await
    }
}

impl Handle<Edit> for Agent {
    async fn handle(&self, request: Edit) -> Result<Edited, Error> {
        blocking(self, move |roots| edit::edit(roots, &request)).await
    }
}

impl Handle<Patch> for Agent {
    async fn handle(&self, request: Patch) -> Result<Patched, Error> {
        blocking(self, move |roots| patch::patch(roots, &request)).await
    }
}

/// Removes a file that the caller may have named by its ETag.
pub async fn delete(agent: &Agent, path: FilePath, conditions: Conditions) -> Result<(), Error> {
    blocking(agent, move |roots| upload::delete(roots, &path, &conditions)).await
}
