//! Reading unified diffs, as GNU diff and git write them.
//!
//! The parser is our own because a line that belongs nowhere must be an error: parsers that pass over what follows a hunk, as patch(1)
//! does, apply half of a diff whose counts are wrong.

mod header;
mod hunk;
mod lines;
mod names;

pub(super) use hunk::{Hunk, Line};

use std::fmt;

pub(super) use header::FileKind;
use header::Header;
use lines::{Cursor, trimmed};
use names::Names;

/// What a diff does to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileDiff<'a> {
    pub(super) change: Change,
    /// What the file is from now on, where that changes.
    pub(super) becomes: Option<FileKind>,
    /// It is a symlink, whose content is where it leads.
    pub(super) symlink: bool,
    pub(super) hunks: Vec<Hunk<'a>>,
    /// Which of the commits it belongs to: in one, renames and copies are of the files as they were before it.
    pub(super) commit: usize,
}

/// Which file, or files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Create { path: Vec<u8> },
    Modify { path: Vec<u8> },
    Delete { path: Vec<u8> },
    Rename { from: Vec<u8>, to: Vec<u8> },
    Copy { from: Vec<u8>, to: Vec<u8> },
}

/// Why something is not a diff that can be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Where: the diff's first line is 1.
    line: usize,
    why: &'static str,
}

impl Malformed {
    /// Where: the diff's first line is 1.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {} of the diff: {}", self.line, self.why)
    }
}

/// Reads a whole diff, of at least one file. What stands before and between the files is no part of it: mails, commit messages. It tells one
/// commit of a series from the next.
pub(super) fn read(diff: &[u8], strip: Option<usize>) -> Result<Vec<FileDiff<'_>>, Malformed> {
    let mut cursor = Cursor::new(diff);
    let mut files: Vec<FileDiff<'_>> = Vec::new();
    let (mut commit, mut in_mail) = (0, false);
    while let Some(line) = cursor.peek() {
        let read = if let Some(names) = line.strip_prefix(b"diff --git ") {
            git(&mut cursor, trimmed(names), strip)?
        } else if is_header(&cursor) {
            Some(file(&mut cursor, Header::default(), strip)?)
        } else if line.starts_with(b"@@ ") && !in_mail {
            return Err(cursor.malformed("a hunk without a file"));
        } else if !files.is_empty() && cursor.follows_hunk() && belongs_nowhere(line) {
            return Err(cursor.malformed("a line outside of any hunk; the hunk before it has more lines than it says"));
        } else {
            in_mail |= line.starts_with(b"From ");
            if files.last().is_some_and(|file| file.commit == commit) && !trimmed(line).is_empty() {
                commit += 1;
            }
            cursor.pass();
            continue;
        };
        in_mail = false;
        files.extend(read.map(|file| FileDiff { commit, ..file }));
    }
    if files.is_empty() {
        return Err(Malformed { line: 1, why: "there is no file in it: --- and +++ with its names, and hunks" });
    }
    Ok(files)
}

/// Whether the names of a file come next.
fn is_header(cursor: &Cursor<'_>) -> bool {
    cursor.peek().is_some_and(|line| line.starts_with(b"--- "))
        && cursor.peek_second().is_some_and(|line| line.starts_with(b"+++ "))
}

/// Whether this line looks like one of a hunk. The two dashes are how a mail's signature begins.
fn belongs_nowhere(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'+' | b'-' | b'\\')) && trimmed(line) != b"-- " && trimmed(line) != b"--"
}

/// A file as git shows it, from `diff --git` on; none where git has nothing to say of it.
fn git<'a>(cursor: &mut Cursor<'a>, names: &[u8], strip: Option<usize>) -> Result<Option<FileDiff<'a>>, Malformed> {
    let mut header = Header::of(Names::of_git(names, strip));
    cursor.pass();
    while let Some(line) = cursor.peek().filter(|line| !line.starts_with(b"diff --git ") && !line.starts_with(b"@@ ")) {
        if is_header(cursor) {
            return file(cursor, header, strip).map(Some);
        }
        if !header.take(trimmed(line), strip).map_err(|why| cursor.malformed(why))? {
            break;
        }
        cursor.pass();
    }
    let (becomes, symlink) = (header.becomes, header.is_symlink());
    let change = header.change().map_err(|why| cursor.malformed(why))?;
    let says = !matches!(change, Change::Modify { .. }) || becomes.is_some();
    Ok(says.then_some(FileDiff { change, becomes, symlink, hunks: Vec::new(), commit: 0 }))
}

/// A file from its names on.
fn file<'a>(cursor: &mut Cursor<'a>, mut header: Header, strip: Option<usize>) -> Result<FileDiff<'a>, Malformed> {
    let (old, new) = (cursor.pass(), cursor.pass());
    header.names = Some(Names::of_header(&old[4..], &new[4..], strip).map_err(|why| cursor.malformed(why))?);
    let (becomes, symlink) = (header.becomes, header.is_symlink());
    let change = header.change().map_err(|why| cursor.malformed(why))?;
    let mut hunks = Vec::new();
    while cursor.peek().is_some_and(|line| line.starts_with(b"@@ ")) {
        hunks.push(Hunk::read(cursor)?);
    }
    if hunks.is_empty() {
        return Err(cursor.malformed("a file without hunks"));
    }
    Ok(FileDiff { change, becomes, symlink, hunks, commit: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(diff: &str) -> Result<Vec<(Change, usize)>, (usize, &'static str)> {
        let files = read(diff.as_bytes(), None).map_err(|error| (error.line, error.why))?;
        Ok(files.into_iter().map(|file| (file.change, file.hunks.len())).collect())
    }

    #[test]
    fn files_are_told_from_what_is_around_them() {
        let hunk = "@@ -1 +1 @@ fn main\n-a\n+b\n";
        let path = |path: &str| path.as_bytes().to_vec();
        let modify = |name| Change::Modify { path: path(name) };
        for (diff, expected) in [
            (format!("--- a/f\n+++ b/f\n{hunk}"), vec![(modify("f"), 1)]),
            (format!("--- f.orig\t2026-01-01\n+++ f\t2026-01-02\n{hunk}{hunk}"), vec![(modify("f"), 2)]),
            (
                format!(
                    "From 1\nSubject: x\n---\n f | 2 +-\n\ndiff --git a/f b/f\nindex 1..2 100644\n--- a/f\n+++ b/f\n{hunk}-- \n2.40\n"
                ),
                vec![(modify("f"), 1)],
            ),
            (
                format!("Only in x: y\n--- a/f\r\n+++ b/f\r\n{hunk}diff -u a/g b/g\n--- a/g\n+++ b/g\n{hunk}"),
                vec![(modify("f"), 1), (modify("g"), 1)],
            ),
            (
                "--- /dev/null\n+++ b/d/f\n@@ -0,0 +1 @@\n+b\n--- a/e\n+++ /dev/null\n@@ -1 +0,0 @@\n-b\n".to_owned(),
                vec![(Change::Create { path: path("d/f") }, 1), (Change::Delete { path: path("e") }, 1)],
            ),
            (
                "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n".to_owned(),
                vec![(Change::Rename { from: path("x"), to: path("y") }, 0)],
            ),
            (
                format!("diff --git a/x b/y\nsimilarity index 90%\ncopy from x\ncopy to y\n--- a/x\n+++ b/y\n{hunk}"),
                vec![(Change::Copy { from: path("x"), to: path("y") }, 1)],
            ),
            (
                "diff --git a/e f b/e f\nnew file mode 100644\nindex 0..1\ndiff --git a/g b/g\ndeleted file mode 100755\n"
                    .to_owned(),
                vec![(Change::Create { path: path("e f") }, 0), (Change::Delete { path: path("g") }, 0)],
            ),
            ("diff --git a/run b/run\nold mode 100644\nnew mode 100755\n".to_owned(), vec![(modify("run"), 0)]),
            (format!("--- \"a/\\303\\251\\n\"\n+++ \"b/\\303\\251\\n\"\n{hunk}"), vec![(modify("é\n"), 1)]),
        ] {
            assert_eq!(changes(&diff), Ok(expected), "{diff}");
        }
    }

    #[test]
    fn what_is_not_a_diff_is_refused_where_it_is_not() {
        for (diff, line, why) in [
            ("", 1, "no file"),
            ("hello\n", 1, "no file"),
            ("@@ -1 +1 @@\n-a\n+b\n", 1, "without a file"),
            ("--- a/f\n+++ b/f\n", 3, "without hunks"),
            ("--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n-a\n+b\n", 6, "ends within"),
            ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n+c\n", 6, "more lines than it says"),
            ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n-b\n+c\n", 5, "more lines than it says"),
            ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\nx\n+c\n", 5, "no line of a hunk"),
            ("--- a/f\n+++ b/f\n@@ 1 @@\n", 3, "begins with @@"),
            ("--- a/f\n+++ b/f\n@@ -9223372036854775809 +1 @@\n-a\n+b\n", 3, "begins with @@"),
            ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n\n@@ -9 +9 @@\n", 7, "without a file"),
            ("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n", 3, "both names"),
            ("diff --git a/x b/x\nGIT binary patch\nliteral 1\n", 2, "binary"),
            ("diff --git a/x b/x\nnew file mode 160000\n", 2, "mode"),
            ("--- \"a\\q\"\n+++ b\n@@ -1 +1 @@\n", 3, "quotes"),
        ] {
            let (at, said) = changes(diff).unwrap_err();
            assert!(at == line && said.contains(why), "{diff}: line {at}: {said}");
        }
    }

    #[test]
    fn commits_of_a_series_are_told_apart() {
        let mail = |name: &str| {
            format!(
                "From 0123 Mon Sep 17 00:00:00 2001\nSubject: x\n\n@@ what is this @@\n---\n {name} | 2 +-\n\ndiff --git a/{name} b/{name}\nindex 1..2 100644\n--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-a\n+b\n-- \n2.40\n\n"
            )
        };
        let plain = |name: &str| format!("--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-a\n+b\n");
        for (diff, expected) in [
            ([mail("a"), mail("b"), mail("a")].concat(), vec![0, 1, 2]),
            ([plain("a"), plain("b"), "\n".to_owned(), plain("a")].concat(), vec![0, 0, 0]),
        ] {
            let commits: Vec<_> = read(diff.as_bytes(), None).unwrap().iter().map(|file| file.commit).collect();
            assert_eq!(commits, expected, "{diff}");
        }
    }

    #[test]
    fn modes_tell_files_from_symlinks() {
        for (header, expected) in [
            ("new file mode 120000\n", Ok((Some(FileKind::Symlink), true))),
            ("deleted file mode 120000\n", Ok((None, true))),
            ("new file mode 100664\n", Ok((Some(FileKind::Plain), false))),
            ("old mode 100644\nnew mode 100755\n", Ok((Some(FileKind::Executable), false))),
            ("old mode 100644\nnew mode 120000\n", Err(())),
            ("new file mode 40000\n", Err(())),
            ("new file mode +100644\n", Err(())),
        ] {
            let diff = format!("diff --git a/x b/x\n{header}");
            let files = read(diff.as_bytes(), None);
            assert_eq!(files.map(|files| (files[0].becomes, files[0].symlink)).map_err(drop), expected, "{header}");
        }
    }

    #[test]
    fn hunks_keep_every_byte() {
        let diff =
            b"--- a/f\n+++ b/f\n@@ -3,3 +3,3 @@\n \xff\n\n-a\r\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n";
        let lines = vec![Line::Context(b"\xff\n"), Line::Context(b"\n"), Line::Removed(b"a\r"), Line::Added(b"b")];
        assert_eq!(read(diff, None).unwrap()[0].hunks, [Hunk { before: 2, lines }]);
    }
}
