//! What has changed, from `git status --porcelain=v2 -z` (git-status(1)).

use cabana_protocol::{
    Error,
    git::{Change, Conflict, State, StatusEntry},
};

use super::{call::Call, repository::Repository};

/// The state of a repository.
pub(super) async fn status(repository: &Repository, untracked: bool) -> Result<State, Error> {
    let untracked = if untracked { "--untracked-files=all" } else { "--untracked-files=no" };
    let call = Call::new(["status", "--porcelain=v2", "--branch", "-z", "--ahead-behind", "--find-renames"]);
    let output = repository.git(call.arguments(["--ignore-submodules=dirty", untracked])).await?;
    Ok(State { truncated: output.truncated, ..parse(&output.stdout) })
}

/// Reads entries, each ended by a NUL; one that is cut off is left out.
fn parse(text: &[u8]) -> State {
    let mut state = State::default();
    let complete = text.iter().rposition(|byte| *byte == 0).map_or(&b""[..], |end| &text[..end]);
    let mut records = complete.split(|byte| *byte == 0);
    while let Some(record) = records.next() {
        match record.split_at_checked(2) {
            Some((b"# ", header)) => read_header(&mut state, &String::from_utf8_lossy(header)),
            Some((b"1 ", rest)) => state.entries.extend(changed(rest, 6, None)),
            Some((b"2 ", rest)) => {
                let from = records.next();
                state.entries.extend(from.and_then(|from| changed(rest, 7, Some(from))));
            }
            Some((b"u ", rest)) => state.entries.extend(unmerged(rest)),
            Some((b"? ", path)) => state.entries.push(StatusEntry { unstaged: Some(Change::Untracked), ..entry(path) }),
            _ => {}
        }
    }
    state
}

fn read_header(state: &mut State, header: &str) {
    let Some((name, value)) = header.split_once(' ') else { return };
    let value = || value.to_owned();
    match name {
        "branch.oid" => state.commit = Some(value()).filter(|commit| commit != "(initial)"),
        "branch.head" => state.branch = Some(value()).filter(|branch| branch != "(detached)"),
        "branch.upstream" => state.upstream = Some(value()),
        "branch.ab" => {
            let counts = value();
            let mut counts = counts.split(' ').map(|count| count.trim_start_matches(['+', '-']).parse().ok());
            (state.ahead, state.behind) = (counts.next().flatten(), counts.next().flatten());
        }
        _ => {}
    }
}

fn entry(path: &[u8]) -> StatusEntry {
    StatusEntry { path: path.to_vec().into(), from: None, staged: None, unstaged: None, conflict: None }
}

/// `XY sub mH mI mW hH hI path`, with a score before the path where there is another path: so many fields between the first and the path.
fn changed(record: &[u8], between: usize, from: Option<&[u8]>) -> Option<StatusEntry> {
    let mut fields = record.splitn(between + 2, |byte| *byte == b' ');
    let (states, path) = (fields.next()?, fields.nth(between)?);
    let [staged, unstaged] = *states else { return None };
    Some(StatusEntry {
        from: from.map(|from| from.to_vec().into()),
        staged: change(staged),
        unstaged: change(unstaged),
        ..entry(path)
    })
}

/// `XY sub m1 m2 m3 mW h1 h2 h3 path`.
fn unmerged(record: &[u8]) -> Option<StatusEntry> {
    let mut fields = record.splitn(10, |byte| *byte == b' ');
    let conflict = match fields.next()? {
        b"UU" => Conflict::BothModified,
        b"AA" => Conflict::BothAdded,
        b"DD" => Conflict::BothDeleted,
        b"AU" => Conflict::AddedByUs,
        b"UA" => Conflict::AddedByThem,
        b"DU" => Conflict::DeletedByUs,
        b"UD" => Conflict::DeletedByThem,
        _ => return None,
    };
    Some(StatusEntry { conflict: Some(conflict), ..entry(fields.nth(8)?) })
}

fn change(letter: u8) -> Option<Change> {
    match letter {
        b'A' => Some(Change::Added),
        b'M' => Some(Change::Modified),
        b'D' => Some(Change::Deleted),
        b'R' => Some(Change::Renamed),
        b'C' => Some(Change::Copied),
        b'T' => Some(Change::TypeChanged),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_record_is_read() {
        let text = b"# branch.oid abc\0# branch.head main\0# branch.upstream origin/main\0# branch.ab +2 -1\0# later thing\0\
            1 M. N... 100644 100644 100644 abc abc staged\0\
            1 .D N... 100644 100644 000000 abc abc with space\nand line\0\
            2 R. N... 100644 100644 100644 abc abc R100 new\0old\0\
            u UU N... 100644 100644 100644 100644 abc abc abc both\0? \xff\0! ignored\x001 M. N... cut off";
        let state = parse(text);
        assert_eq!((state.branch.as_deref(), state.commit.as_deref()), (Some("main"), Some("abc")));
        assert_eq!((state.upstream.as_deref(), state.ahead, state.behind), (Some("origin/main"), Some(2), Some(1)));
        let expected = [
            StatusEntry { staged: Some(Change::Modified), ..entry(b"staged") },
            StatusEntry { unstaged: Some(Change::Deleted), ..entry(b"with space\nand line") },
            StatusEntry { staged: Some(Change::Renamed), from: Some("old".into()), ..entry(b"new") },
            StatusEntry { conflict: Some(Conflict::BothModified), ..entry(b"both") },
            StatusEntry { unstaged: Some(Change::Untracked), ..entry(b"\xff") },
        ];
        assert_eq!(state.entries, expected);
    }

    #[test]
    fn a_repository_may_have_no_commit_and_no_branch() {
        for (text, branch, commit) in [
            (&b"# branch.oid (initial)\0# branch.head main\0"[..], Some("main"), None),
            (b"# branch.oid abc\0# branch.head (detached)\0", None, Some("abc")),
            (b"", None, None),
            (b"1 \0u \0? \0x", None, None),
        ] {
            let state = parse(text);
            assert_eq!((state.branch.as_deref(), state.commit.as_deref()), (branch, commit));
        }
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let text = b"# branch.head main\0? a\0? b c\0".to_vec();
        let text = [text, b"2 R. N... 1 1 1 a a R100 new\0old\0u UU N... 1 1 1 1 a a a both\0".to_vec()].concat();
        let whole = parse(&text).entries;
        assert_eq!(whole.len(), 4);
        for end in 0..text.len() {
            let entries = parse(&text[..end]).entries;
            assert!(whole.starts_with(&entries), "{end}: {entries:?}");
        }
    }
}
