//! Cloning.

use std::os::unix::ffi::OsStrExt;

use cabana_protocol::{
    Error,
    git::{Clone, Cloned},
};

use super::{
    call::{Call, Caller},
    credentials::Passed,
    names, pull,
    repository::{Head, Repository},
};
use crate::{Agent, file};

/// What git says where it has fetched everything and cannot write the files, which it leaves to be looked at.
const CHECKOUT_FAILED: &str = "Clone succeeded, but checkout failed";

pub(super) async fn clone(agent: &Agent, request: Clone, caller: &Caller) -> Result<Cloned, Error> {
    let origin = names::origin(&request.url)?;
    let options = options(&request)?;
    let timeout = pull::timeout(request.timeout_ms)?;
    let credentials = request.credentials.as_ref().map(|credentials| Passed::new(credentials, &origin)).transpose()?;
    let path = request.path.map_or_else(|| names::directory(&request.url), Ok)?;
    let (directory, rest) = file::open_nearest(agent, path.clone()).await?;
    let rest = match rest.as_os_str().as_bytes() {
        b"" => ".".to_owned(),
        rest => String::from_utf8(rest.to_vec()).map_err(|_| Error::invalid_request("a path to clone to is UTF-8"))?,
    };
    let call = Call::new(["clone", "--progress", "--no-recurse-submodules", "--origin=origin"]).arguments(options);
    let call = call.arguments(["--", &request.url, &rest]).credentials(credentials).timeout(timeout);
    let output = call.run(agent, &directory, Some(caller)).await?;
    if output.complaint.contains(CHECKOUT_FAILED) {
        file::take_back(agent, path.clone(), rest == ".").await?;
    }
    output.success()?;
    let Head { branch, commit } = Repository::open(agent, Some(path.clone())).await?.head().await?;
    Ok(Cloned { path, branch, commit })
}

fn options(request: &Clone) -> Result<Vec<String>, Error> {
    let branch = request.branch.as_deref().map(names::branch).transpose()?.map(|branch| format!("--branch={branch}"));
    let depth = match request.depth {
        Some(0) => return Err(Error::invalid_request("depth is at least 1")),
        depth => depth.map(|depth| format!("--depth={depth}")),
    };
    let filter = match request.filter.as_deref() {
        Some(filter) if !filters(filter) => {
            return Err(Error::invalid_request("a filter is blob:none, blob:limit=<n>[kmg] or tree:<depth>"));
        }
        filter => filter.map(|filter| format!("--filter={filter}")),
    };
    Ok([branch, depth, filter].into_iter().flatten().collect())
}

fn filters(filter: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = filter.strip_prefix("blob:limit=").map(|limit| limit.strip_suffix(['k', 'm', 'g']).unwrap_or(limit));
    filter == "blob:none" || limit.or(filter.strip_prefix("tree:")).is_some_and(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_those_that_are_documented() {
        for filter in ["blob:none", "blob:limit=0", "blob:limit=10k", "tree:0"] {
            assert!(filters(filter), "{filter}");
        }
        for filter in ["", "blob:", "blob:limit=", "blob:limit=k", "tree:-1", "sparse:oid=x", "combine:tree:1", "blob:none x"] {
            assert!(!filters(filter), "{filter}");
        }
    }
}
