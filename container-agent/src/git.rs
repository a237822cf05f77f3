//! Git repositories, through the sandbox's `git`: a process like any other, with its owner, its limits and its user, and with what
//! a repository brings along switched off ([`environment`], [`repository`]).
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`call`] | one run of git, and what comes of it |
//! | [`environment`] | what git is told through its environment |
//! | [`credentials`] | how a remote's credentials get to git |
//! | [`failure`] | why git refused |
//! | [`names`] | what a branch, a revision, a remote may be called |
//! | [`progress`] | how far git says it has come |
//! | [`repository`] | where git runs |
//! | [`clone`], [`status`], … | the operations |

mod branch;
mod call;
mod checkout;
mod clone;
mod commit;
mod credentials;
mod diff;
mod environment;
mod failure;
mod log;
mod names;
mod progress;
mod pull;
mod push;
mod repository;
mod stage;
mod status;

use cabana_protocol::{
    Error,
    file::Done,
    git::{
        Add, Branch, Branches, CheckedOut, Checkout, Clone, Cloned, Commit, Committed, Diff, Difference, History, Log, Pull,
        Pulled, Push, Pushed, State, Status,
    },
};

use crate::{
    Agent,
    dispatch::{Channel, Handle, Run},
};
use repository::Repository;

impl Run<Clone> for Agent {
    async fn run(self, request: Clone, channel: Channel<Clone>) -> Result<Cloned, Error> {
        clone::clone(&self, request, &channel.into()).await
    }
}

impl Run<Pull> for Agent {
    async fn run(self, request: Pull, channel: Channel<Pull>) -> Result<Pulled, Error> {
        let repository = Repository::open(&self, request.path.clone()).await?;
        pull::pull(&repository, request, &channel.into()).await
    }
}

impl Run<Push> for Agent {
    async fn run(self, request: Push, channel: Channel<Push>) -> Result<Pushed, Error> {
        let repository = Repository::open(&self, request.path.clone()).await?;
        push::push(&repository, request, &channel.into()).await
    }
}

impl Handle<Status> for Agent {
    async fn handle(&self, request: Status) -> Result<State, Error> {
        let repository = Repository::open(self, request.path).await?;
        status::status(&repository, request.untracked.unwrap_or(true)).await
    }
}

impl Handle<Diff> for Agent {
    async fn handle(&self, request: Diff) -> Result<Difference, Error> {
        let repository = Repository::open(self, request.path.clone()).await?;
        diff::diff(&repository, request).await
    }
}

impl Handle<Log> for Agent {
    async fn handle(&self, request: Log) -> Result<History, Error> {
        let repository = Repository::open(self, request.path.clone()).await?;
        log::log(&repository, request).await
    }
}

impl Handle<Branch> for Agent {
    async fn handle(&self, request: Branch) -> Result<Branches, Error> {
        let repository = Repository::open(self, request.path).await?;
        branch::branch(&repository, request.action, request.remotes).await
    }
}

impl Handle<Checkout> for Agent {
    async fn handle(&self, request: Checkout) -> Result<CheckedOut, Error> {
        let repository = Repository::open(self, request.path.clone()).await?;
        checkout::checkout(&repository, request).await
    }
}

impl Handle<Add> for Agent {
    async fn handle(&self, request: Add) -> Result<Done, Error> {
        let repository = Repository::open(self, request.path.clone()).await?;
        stage::add(&repository, &request).await.map(|()| Done {})
    }
}

impl Handle<Commit> for Agent {
    async fn handle(&self, request: Commit) -> Result<Committed, Error> {
        let repository = Repository::open(self, request.path.clone()).await?;
        commit::commit(&repository, request).await
    }
}
