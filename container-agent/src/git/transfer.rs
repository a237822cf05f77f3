//! What speaks with a remote: clone, pull, push, and the progress that git reports meanwhile.

use std::{os::unix::ffi::OsStrExt, time::Duration};

use cabana_protocol::{
    Code, Error,
    exec::MAX_TIMEOUT_MS,
    git::{Clone, Cloned, DEFAULT_TRANSFER_TIMEOUT_MS, Pull, Pulled, Push, PushOutcome, Pushed, Reason, Strategy},
    names::{invalid_field, missing_field},
};

use super::{
    call::{Call, Caller},
    credentials::PassedCredentials,
    failure::refusal,
    names,
    repository::{Head, Repository},
};
use crate::Agent;

/// What git says where it has fetched everything and cannot write the files, which it leaves to be looked at.
const CHECKOUT_FAILED: &str = "Clone succeeded, but checkout failed";

pub(super) async fn clone(agent: &Agent, request: Clone, caller: &Caller) -> Result<Cloned, Error> {
    let origin = names::origin(&request.url)?;
    let options = clone_options(&request)?;
    let timeout = transfer_timeout(request.timeout_ms)?;
    let credentials = request.credentials.as_ref().map(|credentials| PassedCredentials::new(credentials, &origin)).transpose()?;
    let path = request.path.map_or_else(|| names::directory(&request.url), Ok)?;
    let (directory, rest) = agent.fs.open_nearest(path.clone()).await?;
    let rest = match rest.as_os_str().as_bytes() {
        b"" => ".".to_owned(),
        rest => String::from_utf8(rest.to_vec()).map_err(|_| invalid_field("path", "UTF-8 only"))?,
    };
    let call = Call::new(["clone", "--progress", "--no-recurse-submodules", "--origin=origin"]).arguments(options);
    let call = call.arguments(["--", &request.url, &rest]).credentials(credentials).timeout(timeout);
    let output = call.run(agent, &directory, Some(caller)).await?;
    if output.complaint.contains(CHECKOUT_FAILED) {
        agent.fs.remove_content(path.clone(), rest == ".").await?;
    }
    output.success()?;
    let Head { branch, commit } = Repository::open(agent, Some(path.clone())).await?.head().await?;
    Ok(Cloned { path, branch, commit })
}

fn clone_options(request: &Clone) -> Result<Vec<String>, Error> {
    let branch = request
        .branch
        .as_deref()
        .map(|branch| names::branch(branch, "branch"))
        .transpose()?
        .map(|branch| format!("--branch={branch}"));
    let depth = match request.depth {
        Some(0) => return Err(invalid_field("depth", "a whole number from 1")),
        depth => depth.map(|depth| format!("--depth={depth}")),
    };
    let filter = match request.filter.as_deref() {
        Some(filter) if !is_filter(filter) => {
            return Err(invalid_field("filter", "blob:none, blob:limit=<n>[kmg] or tree:<depth>"));
        }
        filter => filter.map(|filter| format!("--filter={filter}")),
    };
    Ok([branch, depth, filter].into_iter().flatten().collect())
}

fn is_filter(filter: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = filter.strip_prefix("blob:limit=").map(|limit| limit.strip_suffix(['k', 'm', 'g']).unwrap_or(limit));
    filter == "blob:none" || limit.or(filter.strip_prefix("tree:")).is_some_and(number)
}

pub(super) async fn pull(repository: &Repository, request: Pull, caller: &Caller) -> Result<Pulled, Error> {
    let timeout = transfer_timeout(request.timeout_ms)?;
    let remote = request.remote.as_deref().map(names::remote).transpose()?;
    let branch = request.branch.as_deref().map(|branch| names::branch(branch, "branch")).transpose()?;
    if branch.is_none() && remote.is_some_and(|remote| remote.contains("://")) {
        return Err(missing_field("branch"));
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
    let call = call.arguments(["--end-of-options"]).arguments(named).arguments(branch).author(request.author.as_ref())?;
    repository.transfer(call.credentials(credentials).timeout(timeout), caller).await?;
    let Head { branch, commit } = repository.head().await?;
    Ok(Pulled { branch, updated: commit != before.commit, commit })
}

/// How long a transfer may take.
fn transfer_timeout(asked: Option<u64>) -> Result<Duration, Error> {
    match asked.unwrap_or(DEFAULT_TRANSFER_TIMEOUT_MS) {
        timeout @ 1..=MAX_TIMEOUT_MS => Ok(Duration::from_millis(timeout)),
        _ => Err(invalid_field("timeout_ms", &format!("a whole number from 1 to {MAX_TIMEOUT_MS}"))),
    }
}

pub(super) async fn push(repository: &Repository, request: Push, caller: &Caller) -> Result<Pushed, Error> {
    let timeout = transfer_timeout(request.timeout_ms)?;
    let remote = names::remote(request.remote.as_deref().unwrap_or("origin"))?;
    let branch = match &request.branch {
        Some(branch) => names::branch(branch, "branch")?.to_owned(),
        None => {
            let none = || refusal(Code::Unprocessable, Reason::Upstream, "no branch is checked out");
            repository.head().await?.branch.ok_or_else(none)?
        }
    };
    let credentials = repository.credentials(request.credentials.as_ref(), &repository.url(remote, Some("--push")).await?)?;
    let call = Call::new(["push", "--porcelain", "--progress", "--no-verify", "--no-signed", "--recurse-submodules=no"]);
    let call = call.arguments(request.force.then_some("--force-with-lease"));
    let call = call.arguments(request.set_upstream.then_some("--set-upstream"));
    let call = call.arguments(["--end-of-options", remote, &format!("refs/heads/{branch}:refs/heads/{branch}")]);
    let output = repository.transfer(call.credentials(credentials).timeout(timeout), caller).await?;
    let outcome = outcome(&String::from_utf8_lossy(&output.stdout));
    let unknown = || refusal(Code::Unprocessable, Reason::Other, "push did not report its outcome");
    Ok(Pushed { branch, outcome: outcome.ok_or_else(unknown)? })
}

/// Reads `flag TAB from:to TAB summary` (git-push(1)).
fn outcome(printed: &str) -> Option<PushOutcome> {
    printed.lines().find_map(|line| match line.split_once('\t')?.0 {
        "*" => Some(PushOutcome::Created),
        " " => Some(PushOutcome::Updated),
        "+" => Some(PushOutcome::Forced),
        "=" => Some(PushOutcome::UpToDate),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_those_that_are_documented() {
        for filter in ["blob:none", "blob:limit=0", "blob:limit=10k", "tree:0"] {
            assert!(is_filter(filter), "{filter}");
        }
        for filter in ["", "blob:", "blob:limit=", "blob:limit=k", "tree:-1", "sparse:oid=x", "combine:tree:1", "blob:none x"] {
            assert!(!is_filter(filter), "{filter}");
        }
    }

    #[test]
    fn outcomes_are_read() {
        for (flag, expected) in [
            ("*", Some(PushOutcome::Created)),
            (" ", Some(PushOutcome::Updated)),
            ("+", Some(PushOutcome::Forced)),
            ("=", Some(PushOutcome::UpToDate)),
            ("!", None),
        ] {
            let printed = format!("To http://h/x\n{flag}\trefs/heads/a:refs/heads/a\ta..b\nDone\n");
            assert_eq!(outcome(&printed), expected, "{flag:?}");
        }
    }
}
