//! Pulling.

use std::time::Duration;

use cabana_protocol::{
    Error,
    exec::MAX_TIMEOUT_MS,
    git::{DEFAULT_TRANSFER_TIMEOUT_MS, Pull, Pulled, Strategy},
};

use super::{
    call::{Call, Caller},
    names,
    repository::{Head, Repository},
};

pub(super) async fn pull(repository: &Repository, request: Pull, caller: &Caller) -> Result<Pulled, Error> {
    let timeout = timeout(request.timeout_ms)?;
    let remote = request.remote.as_deref().map(names::remote).transpose()?;
    let branch = request.branch.as_deref().map(names::branch).transpose()?;
    if branch.is_none() && remote.is_some_and(|remote| remote.contains("://")) {
        return Err(Error::invalid_request("a URL needs a branch"));
    }
    let before = repository.head().await?;
    let followed = match remote {
        Some(remote) => remote.to_owned(),
        None => repository.followed(before.branch.as_deref()).await?,
    };
    let credentials = repository.credentials(request.credentials.as_ref(), &repository.url(&followed, None).await?)?;
    let strategy = match request.strategy.unwrap_or_default() {
        Strategy::FastForward => "--ff-only",
        Strategy::Merge => "--ff",
    };
    let call =
        Call::new(["pull", "--progress", "--no-rebase", "--no-edit", "--no-recurse-submodules", "--no-autostash", strategy]);
    let named = remote.or(branch.map(|_| followed.as_str()));
    // By its whole name: a plus sign at the beginning of a short one would mean something else.
    let branch = branch.map(|branch| format!("refs/heads/{branch}"));
    let call = call.arguments(["--end-of-options"]).arguments(named).arguments(branch);
    repository.transfer(call.credentials(credentials).timeout(timeout), caller).await?;
    let Head { branch, commit } = repository.head().await?;
    Ok(Pulled { branch, updated: commit != before.commit, commit })
}

/// How long a transfer may take.
pub(super) fn timeout(asked: Option<u64>) -> Result<Duration, Error> {
    match asked.unwrap_or(DEFAULT_TRANSFER_TIMEOUT_MS) {
        timeout @ 1..=MAX_TIMEOUT_MS => Ok(Duration::from_millis(timeout)),
        _ => Err(Error::invalid_request(format!("timeout_ms is 1 to {MAX_TIMEOUT_MS}"))),
    }
}
