//! Git repositories, through the sandbox's `git`: a process like any other, with a supervisor, limits and a user. What a repository's
//! own configuration would run is switched off or refused ([`environment`], [`configuration`]).
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`call`] | one run of git and its output |
//! | [`environment`] | what git is told through its environment |
//! | [`configuration`] | what a repository's own settings could do |
//! | [`credentials`] | hands a remote's credentials to git |
//! | [`failure`] | codes git's error messages |
//! | [`names`] | valid names of branches, revisions and remotes |
//! | [`progress`] | parses git's progress lines |
//! | [`repository`] | a directory to run git in |
//! | [`transfer`] | clone, pull, push |
//! | [`work`] | checkout, add, commit |
//! | [`branch`], [`diff`], [`log`], [`status`] | the other operations |

mod branch;
mod call;
mod configuration;
mod credentials;
mod diff;
mod environment;
mod failure;
mod log;
mod names;
mod progress;
mod repository;
mod status;
mod transfer;
mod work;

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
        transfer::clone(&self, request, &channel.into()).await
    }
}

impl Run<Pull> for Agent {
    async fn run(self, request: Pull, channel: Channel<Pull>) -> Result<Pulled, Error> {
        let repository = Repository::open_to_change(&self, request.path.clone()).await?;
        transfer::pull(&repository, request, &channel.into()).await
    }
}

impl Run<Push> for Agent {
    async fn run(self, request: Push, channel: Channel<Push>) -> Result<Pushed, Error> {
        let repository = Repository::open(&self, request.path.clone()).await?;
        transfer::push(&repository, request, &channel.into()).await
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
        let repository = match request.action {
            None => Repository::open(self, request.path).await?,
            Some(_) => Repository::open_to_change(self, request.path).await?,
        };
        branch::branch(&repository, request.action, request.remotes).await
    }
}

impl Handle<Checkout> for Agent {
    async fn handle(&self, request: Checkout) -> Result<CheckedOut, Error> {
        let repository = Repository::open_to_change(self, request.path.clone()).await?;
        work::checkout(&repository, request).await
    }
}

impl Handle<Add> for Agent {
    async fn handle(&self, request: Add) -> Result<Done, Error> {
        let repository = Repository::open_to_change(self, request.path.clone()).await?;
        work::add(&repository, &request).await.map(|()| Done {})
    }
}

impl Handle<Commit> for Agent {
    async fn handle(&self, request: Commit) -> Result<Committed, Error> {
        let repository = Repository::open_to_change(self, request.path.clone()).await?;
        work::commit(&repository, request).await
    }
}
