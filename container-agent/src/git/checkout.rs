//! Checking out.

use cabana_protocol::{
    Error,
    git::{CheckedOut, Checkout},
};

use super::{
    call::Call,
    names,
    repository::{Head, Repository},
};

pub(super) async fn checkout(repository: &Repository, request: Checkout) -> Result<CheckedOut, Error> {
    let branch = request.branch.as_deref().map(names::branch).transpose()?;
    let commit = request.commit.as_deref().map(names::revision).transpose()?;
    let call = Call::new(["switch", "--no-progress", "--no-recurse-submodules"]);
    let call = match (request.create, branch, commit) {
        (true, Some(branch), commit) => call.arguments(["--no-track", "--create", branch]).arguments(commit),
        (false, Some(branch), None) => call.arguments(["--guess", branch]),
        (false, None, Some(commit)) => call.arguments(["--detach", commit]),
        (true, None, _) => return Err(Error::invalid_request("a new branch needs a name: set branch")),
        (false, Some(_), Some(_)) => return Err(Error::invalid_request("either a branch or a commit, unless the branch is new")),
        (false, None, None) => return Err(Error::invalid_request("neither a branch nor a commit")),
    };
    repository.git(call).await?;
    let Head { branch, commit } = repository.head().await?;
    Ok(CheckedOut { branch, commit })
}
