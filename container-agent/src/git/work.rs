//! What changes a repository on the spot: checkout, add, commit.

use cabana_protocol::{
    Code, Error,
    file::FilePath,
    git::{Add, CheckedOut, Checkout, Commit, Committed},
    names::{excluded_field, invalid_field, missing_field},
};

use super::{
    call::Call,
    names,
    repository::{Head, Repository},
};

pub(super) async fn checkout(repository: &Repository, request: Checkout) -> Result<CheckedOut, Error> {
    let branch = request.branch.as_deref().map(|branch| names::branch(branch, "branch")).transpose()?;
    let commit = request.commit.as_deref().map(|commit| names::revision(commit, "commit")).transpose()?;
    let call = Call::new(["switch", "--no-progress", "--no-recurse-submodules"]);
    let call = match (request.create, branch, commit) {
        (true, Some(branch), commit) => call.arguments(["--no-track", "--create", branch]).arguments(commit),
        (false, Some(branch), None) => call.arguments(["--guess", branch]),
        (false, None, Some(commit)) => call.arguments(["--detach", commit]),
        (true, None, _) => return Err(missing_field("branch")),
        (false, Some(_), Some(_)) => return Err(excluded_field("commit", "cannot be combined with `branch` without `create`")),
        (false, None, None) => return Err(missing_field("branch")),
    };
    repository.git(call).await?;
    let Head { branch, commit } = repository.head().await?;
    Ok(CheckedOut { branch, commit })
}

pub(super) async fn add(repository: &Repository, request: &Add) -> Result<(), Error> {
    let call = match (request.all, request.paths.as_slice()) {
        (true, []) => Call::new(["add", "--all"]),
        (false, [_, ..]) => Call::new(["add", "--pathspec-from-file=-", "--pathspec-file-nul"]).stdin(separated(&request.paths)?),
        (true, _) => return Err(excluded_field("paths", "cannot be combined with `all`")),
        (false, []) => return Err(missing_field("paths")),
    };
    repository.git(call).await.map(drop)
}

/// Paths of any bytes, each ended by a NUL.
fn separated(paths: &[FilePath]) -> Result<Vec<u8>, Error> {
    if paths.iter().any(|path| path.as_bytes().is_empty() || path.as_bytes().contains(&0)) {
        return Err(invalid_field("paths", "paths that are not empty and have no NUL byte"));
    }
    Ok(paths.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect())
}

pub(super) async fn commit(repository: &Repository, request: Commit) -> Result<Committed, Error> {
    if request.message.trim().is_empty() || request.message.contains('\0') {
        return Err(invalid_field("message", "a text that is not empty and has no NUL byte"));
    }
    let call =
        Call::new(["commit", "--quiet", "--no-verify", "--no-gpg-sign", "--no-status", "--cleanup=whitespace", "--file=-"]);
    let call = call.arguments(request.all.then_some("--all")).arguments(request.allow_empty.then_some("--allow-empty"));
    let call = call.author(request.author.as_ref())?;
    repository.git(call.stdin(request.message)).await?;
    match repository.head().await? {
        Head { branch, commit: Some(commit) } => Ok(Committed { commit, branch }),
        Head { .. } => Err(Error::new(Code::Conflict, "the commit was made, but something else was checked out meanwhile")),
    }
}
