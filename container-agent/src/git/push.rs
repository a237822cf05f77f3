//! Pushing.

use cabana_protocol::{
    Code, Error,
    git::{Push, PushOutcome, Pushed, Reason},
};

use super::{
    call::{Call, Caller},
    failure::refusal,
    names, pull,
    repository::Repository,
};

pub(super) async fn push(repository: &Repository, request: Push, caller: &Caller) -> Result<Pushed, Error> {
    let timeout = pull::timeout(request.timeout_ms)?;
    let remote = names::remote(request.remote.as_deref().unwrap_or("origin"))?;
    let branch = match &request.branch {
        Some(branch) => names::branch(branch)?.to_owned(),
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
    let unknown = || refusal(Code::Unprocessable, Reason::Other, "it does not tell what it has pushed");
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
