//! Committing.

use cabana_protocol::{
    Code, Error,
    git::{Commit, Committed, Person},
};

use super::{
    call::Call,
    repository::{Head, Repository},
};

pub(super) async fn commit(repository: &Repository, request: Commit) -> Result<Committed, Error> {
    if request.message.trim().is_empty() || request.message.contains('\0') {
        return Err(Error::invalid_request("the message is empty, or holds a NUL byte"));
    }
    let call =
        Call::new(["commit", "--quiet", "--no-verify", "--no-gpg-sign", "--no-status", "--cleanup=whitespace", "--file=-"]);
    let call = call.arguments(request.all.then_some("--all")).arguments(request.allow_empty.then_some("--allow-empty"));
    let call = match &request.author {
        Some(author) => signed(call, author)?,
        None => call,
    };
    repository.git(call.stdin(request.message)).await?;
    match repository.head().await? {
        Head { branch, commit: Some(commit) } => Ok(Committed { commit, branch }),
        Head { .. } => Err(Error::new(Code::Conflict, "the commit is there, and something else has been checked out since")),
    }
}

/// As this person, who is both its author and its committer.
fn signed(call: Call, Person { name, email }: &Person) -> Result<Call, Error> {
    let fit = |text: &str| !text.trim().is_empty() && !text.contains(|char: char| char.is_control() || "<>".contains(char));
    if !fit(name) || !fit(email) {
        return Err(Error::invalid_request("an author has a name and an address, without < and >"));
    }
    let call = call.variable("GIT_AUTHOR_NAME", name).variable("GIT_COMMITTER_NAME", name);
    Ok(call.variable("GIT_AUTHOR_EMAIL", email).variable("GIT_COMMITTER_EMAIL", email))
}
