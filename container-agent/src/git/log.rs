//! Commits, from `git log -z` (git-log(1)).

use cabana_protocol::{
    Error,
    git::{DEFAULT_LOG_LIMIT, History, Log, LogEntry, MAX_LOG_LIMIT, Signature},
    names::invalid_field,
};

use super::{call::Call, names, repository::Repository};

/// What is asked of each commit, each field ended by a NUL: no field can hold one.
const FORMAT: &str = "--format=%H%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B";

/// How many fields that are.
const FIELDS: usize = 9;

pub(super) async fn log(repository: &Repository, request: Log) -> Result<History, Error> {
    let limit = request.limit.unwrap_or(DEFAULT_LOG_LIMIT);
    if !(1..=MAX_LOG_LIMIT).contains(&limit) {
        return Err(invalid_field("limit", &format!("a whole number from 1 to {MAX_LOG_LIMIT}")));
    }
    let revision = request.revision.as_deref().map(|revision| names::revision(revision, "revision")).transpose()?;
    let call = Call::new(["log", "-z", "--encoding=UTF-8", "--no-show-signature", "--no-color", "--no-patch", FORMAT]);
    let call = call.arguments([format!("--max-count={}", limit + 1), format!("--skip={}", request.skip.unwrap_or(0))]);
    let call = call.arguments(["--end-of-options"]).arguments(revision).arguments(["--"]);
    let output = repository.run(call.arguments(names::paths(&request.paths)?)).await?;
    if revision.is_none() && output.failed.is_some() && output.complaint.contains("does not have any commits yet") {
        return Ok(History { commits: Vec::new(), more: false });
    }
    let output = output.success()?;
    let mut commits = parse(&output.stdout);
    let more = output.truncated || commits.len() > limit as usize;
    commits.truncate(limit as usize);
    Ok(History { commits, more })
}

/// Reads commits; one that is cut off is left out.
fn parse(text: &[u8]) -> Vec<LogEntry> {
    let complete = text.iter().rposition(|byte| *byte == 0).map_or(&b""[..], |end| &text[..end]);
    let fields: Vec<_> = complete.split(|byte| *byte == 0).collect();
    fields.chunks_exact(FIELDS).filter_map(|fields| fields.try_into().ok().map(entry)).collect()
}

fn entry([commit, parents, name, email, at, committer, address, committed_at, message]: [&[u8]; FIELDS]) -> LogEntry {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let person =
        |name: &[u8], email: &[u8], at| Signature { name: name.to_vec().into(), email: email.to_vec().into(), at: text(at) };
    LogEntry {
        commit: text(commit),
        parents: text(parents).split_ascii_whitespace().map(str::to_owned).collect(),
        author: person(name, email, at),
        committer: person(committer, address, committed_at),
        message: message.to_vec().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_commits_are_read() {
        let one = b"c1\0p1 p2\0A\xff\0a@x\x002026-01-01T00:00:00+01:00\0C\0c@x\x002026-01-02T00:00:00Z\0subject\n\nbody\n\0";
        let two = [&one[..], &one[..one.len() - 1]].concat();
        for (text, count) in [(&b""[..], 0), (one, 1), (&two, 1), (b"cut", 0)] {
            let commits = parse(text);
            assert_eq!(commits.len(), count);
            for commit in commits {
                assert_eq!(commit.parents, ["p1", "p2"]);
                assert_eq!(commit.author.name, b"A\xff".to_vec().into());
                assert_eq!((commit.committer.at.as_str(), commit.message), ("2026-01-02T00:00:00Z", "subject\n\nbody\n".into()));
            }
        }
    }
}
