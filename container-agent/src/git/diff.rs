//! What differs, from `git diff` (git-diff(1)).

use cabana_protocol::{
    Error,
    git::{Diff, Difference, FileDifference},
    names::{excluded_field, invalid_field},
};

use super::{call::Call, names, repository::Repository};

/// Neither programs of the repository nor somebody's taste.
const PLAIN: [&str; 6] =
    ["--no-ext-diff", "--no-textconv", "--no-color", "--find-renames", "--ignore-submodules=dirty", "--submodule=short"];

pub(super) async fn diff(repository: &Repository, request: Diff) -> Result<Difference, Error> {
    let sides = sides(&request)?;
    let mut paths = names::paths(&request.paths)?;
    // Outside a repository, and where exactly two paths lead out of one, git would compare files of any directory with each other.
    repository.git(Call::new(["rev-parse", "--git-dir"])).await?;
    paths.extend(paths.first().cloned());
    let call = |format: &[&str]| {
        let call = Call::new(["diff"]).arguments(PLAIN).arguments(format.iter().copied()).arguments(sides.clone());
        repository.git(call.arguments(["--"]).arguments(paths.clone()))
    };
    let numbers = call(&["--numstat", "-z", "--no-relative"]).await?;
    let patch = call(&["--patch", "--unified=3", "--no-relative", "--src-prefix=a/", "--dst-prefix=b/"]).await?;
    Ok(Difference { files: parse(&numbers.stdout), patch: patch.stdout.into(), truncated: numbers.truncated || patch.truncated })
}

/// The arguments that name the two sides.
fn sides(request: &Diff) -> Result<Vec<String>, Error> {
    let mut sides = Vec::new();
    match (request.staged, &request.from, &request.to) {
        (true, _, Some(_)) => return Err(excluded_field("to", "cannot be combined with `staged`, which is the new side itself")),
        (false, None, Some(_)) => return Err(excluded_field("to", "needs `from`")),
        (staged, ..) => sides.extend(staged.then(|| "--cached".to_owned())),
    }
    let sides_asked = [("from", &request.from), ("to", &request.to)].into_iter();
    let revisions = sides_asked.filter_map(|(field, text)| Some(names::revision(text.as_ref()?, field).map(str::to_owned)));
    let revisions = revisions.collect::<Result<Vec<_>, _>>()?;
    if revisions.iter().any(|revision| revision.contains("..")) {
        return Err(invalid_field("from", "one commit, and so does `to`"));
    }
    sides.push("--end-of-options".to_owned());
    sides.extend(revisions);
    Ok(sides)
}

/// Reads `added TAB deleted TAB path NUL`; of a renamed file the path is empty, and the old and the new one follow. What is cut off is
/// left out.
fn parse(text: &[u8]) -> Vec<FileDifference> {
    let complete = text.iter().rposition(|byte| *byte == 0).map_or(&b""[..], |end| &text[..end]);
    let mut records = complete.split(|byte| *byte == 0);
    let mut files = Vec::new();
    while let Some(record) = records.next() {
        let mut fields = record.splitn(3, |byte| *byte == b'\t');
        let (Some(added), Some(deleted), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (from, path) = match path {
            b"" => (records.next(), records.next()),
            path => (None, Some(path)),
        };
        let Some(path) = path else { break };
        let from = from.map(|from| from.to_vec().into());
        files.push(FileDifference { path: path.to_vec().into(), from, added: count(added), deleted: count(deleted) });
    }
    files
}

/// `-` for a binary file.
fn count(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let file = |path: &str, from: Option<&str>, added, deleted| FileDifference {
            path: path.into(),
            from: from.map(Into::into),
            added,
            deleted,
        };
        for (text, expected) in [
            (&b""[..], vec![]),
            (b"1\t2\ta\tb\n\0", vec![file("a\tb\n", None, Some(1), Some(2))]),
            (b"-\t-\tbinary\0", vec![file("binary", None, None, None)]),
            (b"0\t0\t\0old\0new\0", vec![file("new", Some("old"), Some(0), Some(0))]),
            (b"0\t0\t\0old\0ne", vec![]),
            (b"1\t1\tcut", vec![]),
        ] {
            assert_eq!(parse(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn sides_make_sense() {
        let request = |staged, from: Option<&str>, to: Option<&str>| Diff {
            path: None,
            staged,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            paths: Vec::new(),
        };
        for (staged, from, to, expected) in [
            (false, None, None, Some("--end-of-options")),
            (true, None, None, Some("--cached --end-of-options")),
            (true, Some("a"), None, Some("--cached --end-of-options a")),
            (false, Some("a"), Some("b"), Some("--end-of-options a b")),
            (true, Some("a"), Some("b"), None),
            (false, None, Some("b"), None),
            (false, Some("a..b"), None, None),
            (false, Some("--output=x"), None, None),
        ] {
            assert_eq!(sides(&request(staged, from, to)).ok().map(|sides| sides.join(" ")).as_deref(), expected);
        }
    }
}
