//! Branches.

use cabana_protocol::{
    Error,
    git::{BranchAction, BranchInfo, Branches},
};

use super::{call::Call, names, repository::Repository};

pub(super) async fn branch(repository: &Repository, action: Option<BranchAction>, remotes: bool) -> Result<Branches, Error> {
    match &action {
        None => {}
        Some(BranchAction::Create { name, start }) => {
            let start = start.as_deref().map(|start| names::revision(start, "action.start")).transpose()?;
            let call = Call::new(["branch", "--no-recurse-submodules", "--end-of-options"]);
            repository.git(call.arguments([names::branch(name, "action.name")?]).arguments(start)).await?;
        }
        Some(BranchAction::Delete { name, force }) => {
            let call = Call::new(["branch", "--delete"]).arguments(force.then_some("--force"));
            repository.git(call.arguments(["--end-of-options", names::branch(name, "action.name")?])).await?;
        }
    }
    list(repository, remotes).await
}

async fn list(repository: &Repository, remotes: bool) -> Result<Branches, Error> {
    let format = "--format=%(refname)%00%(objectname)%00%(upstream:short)%00%(HEAD)%00%(symref)";
    let call = Call::new(["for-each-ref", format, "refs/heads"]).arguments(remotes.then_some("refs/remotes"));
    let output = repository.git(call).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    // What is cut off at the end has no line break.
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    Ok(Branches { branches: lines.filter_map(parse).collect(), truncated: output.truncated })
}

/// Reads a line; `None` for what only points to a branch, as `origin/HEAD` does.
fn parse(line: &str) -> Option<BranchInfo> {
    let mut fields = line.split('\0');
    let (reference, commit, upstream) = (fields.next()?, fields.next()?.to_owned(), fields.next()?);
    let (current, symbolic) = (fields.next()? == "*", !fields.next()?.is_empty());
    let remote = reference.strip_prefix("refs/remotes/");
    let name = remote.or_else(|| reference.strip_prefix("refs/heads/"))?.to_owned();
    let upstream = Some(upstream.to_owned()).filter(|upstream| !upstream.is_empty());
    (!symbolic || remote.is_none()).then_some(BranchInfo { name, commit, upstream, current, remote: remote.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_read() {
        let info = |name: &str, upstream: Option<&str>, current, remote| {
            Some(BranchInfo {
                name: name.to_owned(),
                commit: "c".to_owned(),
                upstream: upstream.map(str::to_owned),
                current,
                remote,
            })
        };
        for (line, expected) in [
            ("refs/heads/a/b\0c\0origin/a/b\0*\0", info("a/b", Some("origin/a/b"), true, false)),
            ("refs/heads/x\0c\0\0 \0", info("x", None, false, false)),
            ("refs/remotes/origin/x\0c\0\0 \0", info("origin/x", None, false, true)),
            ("refs/remotes/origin/HEAD\0c\0\0 \0refs/remotes/origin/x", None),
            ("refs/tags/x\0c\0\0 \0", None),
            ("refs/heads/x\0c", None),
        ] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }
}
