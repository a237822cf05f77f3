//! The operations on files, over the confined file system ([`fs`](crate::fs)). One file for each.

mod cancel;
mod conditions;
mod copy;
mod edit;
mod find;
mod in_place;
mod list;
mod many;
mod names;
mod nearest;
mod patch;
mod read;
mod search;
mod stat;
mod walk;
mod write;

/// What fuzzing calls.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz {
    pub use super::patch::fuzz::patch;
}

pub use conditions::{Conditions, Tags};
pub use in_place::{PartRange, PartUpload};
pub use read::{HEAD_BYTES, Opened, content_type, open};
pub use stat::modified_at;
pub(crate) use walk::IgnoreRules;
pub use write::Upload;
pub(crate) use write::check_space;

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
    fs::{Roots, content_too_large},
    limits,
    threads::Length,
};
use cancel::Halt;

/// Does work that is told when the caller goes away.
async fn cancellable<T: Send + 'static>(
    length: Length,
    agent: &Agent,
    work: impl FnOnce(&Roots, &CancellationToken) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let cancel = CancellationToken::new();
    let _gone = cancel.clone().drop_guard();
    agent.fs.run_for(length, move |roots| work(roots, &cancel)).await
}

/// Does work that goes through whole trees, of which there is only so much at once, and that is told when the caller goes away. Its time
/// includes the waits for a permit and for a thread.
async fn searching<T: Send + 'static>(
    agent: &Agent,
    timeout_ms: Option<u64>,
    work: impl FnOnce(&Roots, &Halt<'_>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let deadline = walk::deadline(timeout_ms)?;
    let permit = tokio::time::timeout_at(deadline.into(), agent.searches.clone().acquire_owned()).await;
    let permit = permit.map_err(|_| limits::reached(agent.limits.searches, "searches are under way"))?;
    let cancel = CancellationToken::new();
    let _gone = cancel.clone().drop_guard();
    let search = move |roots: &Roots| {
        let _permit = permit;
        work(roots, &Halt::new(&cancel, deadline))
    };
    agent.fs.run_before(deadline.into(), search).await
}

impl Handle<Read> for Agent {
    async fn handle(&self, request: Read) -> Result<Content, Error> {
        cancellable(Length::Short, self, move |roots, cancel| read::read(roots, &request, cancel)).await
    }
}

impl Handle<Write> for Agent {
    async fn handle(&self, request: Write) -> Result<Written, Error> {
        if request.content.0.len() as u64 > MAX_CONTENT_BYTES {
            return Err(content_too_large("file.write", MAX_CONTENT_BYTES));
        }
        self.fs.run(move |roots| write::write(roots, &request)).await
    }
}

impl Handle<Stat> for Agent {
    async fn handle(&self, request: Stat) -> Result<Metadata, Error> {
        self.fs.run(move |roots| stat::stat(roots, request.path)).await
    }
}

impl Handle<List> for Agent {
    async fn handle(&self, request: List) -> Result<Listing, Error> {
        cancellable(Length::Short, self, move |roots, cancel| list::list(roots, &request, cancel)).await
    }
}

impl Handle<Mkdir> for Agent {
    async fn handle(&self, request: Mkdir) -> Result<Done, Error> {
        self.fs.run(move |roots| names::make_directory(roots, &request.path, request.parents)).await.map(|()| Done {})
    }
}

impl Handle<Remove> for Agent {
    async fn handle(&self, request: Remove) -> Result<Done, Error> {
        // A tree may be of any size.
        let length = if request.recursive { Length::Long } else { Length::Short };
        let remove = move |roots: &Roots| names::remove(roots, &request.path, request.recursive);
        self.fs.run_for(length, remove).await.map(|()| Done {})
    }
}

impl Handle<Move> for Agent {
    async fn handle(&self, request: Move) -> Result<Done, Error> {
        let Move { from, to, .. } = request.clone();
        if self.fs.run(move |roots| names::rename(roots, &from, &to)).await? {
            return Ok(Done {});
        }
        let copy = Copy { from: request.from, to: request.to, recursive: true, session: None };
        cancellable(Length::Long, self, move |roots, cancel| copy::move_by_copy(roots, &copy, cancel)).await.map(|()| Done {})
    }
}

impl Handle<Copy> for Agent {
    async fn handle(&self, request: Copy) -> Result<Copied, Error> {
        cancellable(Length::Long, self, move |roots, cancel| copy::copy(roots, &request, cancel)).await
    }
}

impl Handle<Symlink> for Agent {
    async fn handle(&self, request: Symlink) -> Result<Done, Error> {
        self.fs.run(move |roots| names::symlink(roots, &request)).await.map(|()| Done {})
    }
}

impl Handle<Chmod> for Agent {
    async fn handle(&self, request: Chmod) -> Result<Done, Error> {
        self.fs.run(move |roots| names::chmod(roots, &request)).await.map(|()| Done {})
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
        self.fs.run(move |roots| edit::edit(roots, &request)).await
    }
}

impl Handle<Patch> for Agent {
    async fn handle(&self, request: Patch) -> Result<Patched, Error> {
        self.fs.run(move |roots| patch::patch(roots, &request)).await
    }
}

/// Removes a file that the caller may have named by its ETag.
pub async fn delete(agent: &Agent, path: FilePath, conditions: Conditions) -> Result<(), Error> {
    agent.fs.run(move |roots| write::delete(roots, &path, &conditions)).await
}
