//! Files, confined to the sandbox's roots by the kernel ([`root`]). System calls run on threads that may block.

mod conditions;
mod content;
mod directory;
mod failure;
mod list;
mod metadata;
mod root;
mod target;
mod temporary;
mod tree;
mod upload;
mod watch;

pub use conditions::{Conditions, Tags};
pub use content::{Opened, open};
pub use root::Roots;
pub use upload::Upload;

use cabana_protocol::{
    Error,
    file::{
        Content, Done, FilePath, List, Listing, MAX_CONTENT_BYTES, Metadata, Mkdir, Move, Read, Remove, Stat, Write, Written,
    },
};

use crate::{Agent, dispatch::Handle};

/// Does file work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    agent: &Agent,
    work: impl FnOnce(&Roots) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let agent = agent.clone();
    let done = tokio::task::spawn_blocking(move || work(&agent.roots)).await;
    done.unwrap_or_else(|_| Err(Error::internal("the file operation broke off")))
}

impl Handle<Read> for Agent {
    async fn handle(&self, request: Read) -> Result<Content, Error> {
        blocking(self, move |roots| content::read(roots, &request)).await
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
        blocking(self, move |roots| list::list(roots, &request)).await
    }
}

impl Handle<Mkdir> for Agent {
    async fn handle(&self, request: Mkdir) -> Result<Done, Error> {
        blocking(self, move |roots| directory::make(roots, &request.path, request.parents)).await.map(|()| Done {})
    }
}

impl Handle<Remove> for Agent {
    async fn handle(&self, request: Remove) -> Result<Done, Error> {
        blocking(self, move |roots| directory::remove(roots, &request.path, request.recursive)).await.map(|()| Done {})
    }
}

impl Handle<Move> for Agent {
    async fn handle(&self, request: Move) -> Result<Done, Error> {
        let Move { from, to } = request;
        blocking(self, move |roots| directory::rename(roots, &from, &to)).await.map(|()| Done {})
    }
}

/// Removes a file that the caller may have named by its ETag.
pub async fn delete(agent: &Agent, path: FilePath, conditions: Conditions) -> Result<(), Error> {
    blocking(agent, move |roots| upload::delete(roots, &path, &conditions)).await
}
