//! Codes git's failures by their messages: git has one exit code for almost all of them.

use cabana_protocol::{Code, Error, git::Reason};
use serde_json::json;

use super::call::Output;
use crate::redact;

/// The last characters of git's stderr that a caller is shown.
const SHOWN_CHARS: usize = 2_000;

/// Parts of git's messages, in lower case. The first that occurs decides.
const SAYINGS: &[(&str, Code, Reason)] = &[
    ("no space left on device", Code::StorageFull, Reason::Other),
    ("disk quota exceeded", Code::StorageFull, Reason::Other),
    ("could not read username", Code::Forbidden, Reason::Authentication),
    ("could not read password", Code::Forbidden, Reason::Authentication),
    ("authentication failed", Code::Forbidden, Reason::Authentication),
    ("requested url returned error: 401", Code::Forbidden, Reason::Authentication),
    ("requested url returned error: 403", Code::Forbidden, Reason::Authentication),
    ("' not allowed", Code::Forbidden, Reason::Protocol),
    ("[remote rejected]", Code::Forbidden, Reason::RemoteRejected),
    ("(stale info)", Code::Conflict, Reason::Stale),
    ("(non-fast-forward)", Code::Conflict, Reason::Diverged),
    ("(fetch first)", Code::Conflict, Reason::Diverged),
    ("not possible to fast-forward", Code::Conflict, Reason::Diverged),
    ("refusing to merge unrelated histories", Code::Conflict, Reason::Diverged),
    ("would be overwritten by", Code::Conflict, Reason::LocalChanges),
    ("conflict (", Code::Conflict, Reason::MergeConflict),
    ("unmerged", Code::Conflict, Reason::MergeConflict),
    ("you have not concluded your merge", Code::Conflict, Reason::MergeConflict),
    ("needs merge", Code::Conflict, Reason::MergeConflict),
    ("while merging", Code::Conflict, Reason::MergeConflict),
    ("resolve your current index first", Code::Conflict, Reason::MergeConflict),
    ("already exists", Code::Conflict, Reason::Exists),
    ("could not create work tree dir", Code::Conflict, Reason::Exists),
    ("is not fully merged", Code::Conflict, Reason::NotMerged),
    ("cannot delete branch", Code::Conflict, Reason::InUse),
    ("already used by worktree", Code::Conflict, Reason::InUse),
    (".lock': file exists", Code::Conflict, Reason::Locked),
    ("nothing to commit", Code::Conflict, Reason::NothingToCommit),
    ("nothing added to commit", Code::Conflict, Reason::NothingToCommit),
    ("no changes added to commit", Code::Conflict, Reason::NothingToCommit),
    ("ignored by one of your .gitignore files", Code::Conflict, Reason::Ignored),
    ("couldn't find remote ref", Code::NotFound, Reason::Revision),
    ("not found in upstream", Code::NotFound, Reason::Revision),
    ("invalid reference", Code::NotFound, Reason::Revision),
    ("unknown revision", Code::NotFound, Reason::Revision),
    ("bad revision", Code::NotFound, Reason::Revision),
    ("bad object", Code::NotFound, Reason::Revision),
    ("not a valid object name", Code::NotFound, Reason::Revision),
    ("not a valid ref", Code::NotFound, Reason::Revision),
    ("not a commit", Code::NotFound, Reason::Revision),
    ("not a tree object", Code::NotFound, Reason::Revision),
    ("src refspec", Code::NotFound, Reason::Revision),
    ("error: branch '", Code::NotFound, Reason::Revision),
    ("no such remote", Code::NotFound, Reason::Remote),
    ("does not appear to be a git repository", Code::NotFound, Reason::Remote),
    ("not a git repository", Code::NotFound, Reason::Repository),
    ("must be run in a work tree", Code::NotFound, Reason::Repository),
    ("did not match any file", Code::NotFound, Reason::Path),
    ("is outside repository", Code::NotFound, Reason::Path),
    ("' not found", Code::NotFound, Reason::RemoteRepository),
    ("requested url returned error: 404", Code::NotFound, Reason::RemoteRepository),
    ("is this a git repository?", Code::NotFound, Reason::RemoteRepository),
    ("tell me who you are", Code::Unprocessable, Reason::Identity),
    ("auto-detection is disabled", Code::Unprocessable, Reason::Identity),
    ("empty ident", Code::Unprocessable, Reason::Identity),
    ("no tracking information", Code::Unprocessable, Reason::Upstream),
    ("not currently on a branch", Code::Unprocessable, Reason::Upstream),
    ("unable to access 'http", Code::Unprocessable, Reason::Network),
    ("remote end hung up", Code::Unprocessable, Reason::Network),
    ("rpc failed", Code::Unprocessable, Reason::Network),
    ("early eof", Code::Unprocessable, Reason::Network),
    ("permission denied", Code::Forbidden, Reason::Permission),
];

/// The error for a run that failed.
pub(super) fn failure(output: &Output) -> Error {
    let printed = clean(&String::from_utf8_lossy(&output.stdout), &output.secrets);
    let (code, reason) =
        [&*output.complaint, &*printed].into_iter().find_map(recognise).unwrap_or((Code::Unprocessable, Reason::Other));
    let said = if output.complaint.trim().is_empty() { &*printed } else { &*output.complaint };
    let start = said.char_indices().rev().nth(SHOWN_CHARS).map_or(0, |(start, _)| start);
    refusal(code, reason, main_line(said)).with_details(json!({ "output": said[start..].trim() }))
}

/// An error with its reason.
pub(super) fn refusal(code: Code, reason: Reason, message: &str) -> Error {
    Error::new(code, format!("git: {message}")).with_details(json!({ "reason": reason }))
}

/// What git printed, without secrets, overwritten progress and control characters, which would steer a terminal.
pub(super) fn clean(text: &str, secrets: &[String]) -> String {
    let masked = redact::mask(text, secrets.iter().map(String::as_str));
    let lines = masked.split('\n').map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default());
    lines.map(|line| line.replace(|char: char| char.is_control() && char != '\t', "")).collect::<Vec<_>>().join("\n")
}

/// The lines that git wrote itself: the remote chooses those behind `remote: `.
fn own_lines(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("remote: "))
}

fn recognise(text: &str) -> Option<(Code, Reason)> {
    let text = own_lines(text).collect::<Vec<_>>().join("\n").to_lowercase();
    SAYINGS.iter().find(|(saying, ..)| text.contains(saying)).map(|(_, code, reason)| (*code, *reason))
}

/// The most telling line: the first that git marks, or else the last.
fn main_line(text: &str) -> &str {
    let marked = own_lines(text).find_map(|line| line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")));
    marked.or_else(|| own_lines(text).next_back()).unwrap_or("failed without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_shown_without_secrets_and_control_characters() {
        let secrets = ["hunter2".to_owned(), String::new()];
        for (text, expected) in [
            ("fatal: hunter2 is wrong", "fatal: *** is wrong"),
            ("'https://me:pw@host/x' and http://token@host", "'https://***@host/x' and http://***@host"),
            ("https://host/a@b ssh://c@d:22/", "https://host/a@b ssh://***@d:22/"),
            ("https://a@b@host", "https://***@host"),
            ("x:// y", "x:// y"),
            ("Receiving:  1%\rReceiving: 99%\r\nfatal: \x1b[31mred\n", "Receiving: 99%\nfatal: [31mred\n"),
        ] {
            assert_eq!(clean(text, &secrets), expected, "{text:?}");
        }
    }

    #[test]
    fn messages_of_git_are_coded() {
        for (said, expected) in [
            ("fatal: Authentication failed for 'http://h/x/'", Some(Reason::Authentication)),
            ("fatal: could not read Username for 'http://h': terminal prompts disabled", Some(Reason::Authentication)),
            ("fatal: repository 'http://h/x/' not found", Some(Reason::RemoteRepository)),
            ("fatal: not a git repository (or any of the parent directories): .git", Some(Reason::Repository)),
            ("fatal: unable to access 'http://h/': Could not resolve host: h", Some(Reason::Network)),
            ("fatal: write error: No space left on device", Some(Reason::Other)),
            ("fatal: Unable to create '/w/.git/index.lock': File exists.", Some(Reason::Locked)),
            ("error: cannot open '.git/FETCH_HEAD': Permission denied", Some(Reason::Permission)),
            ("remote: fatal: repository 'x' not found", None),
            ("fatal: something new", None),
        ] {
            assert_eq!(recognise(said).map(|(_, reason)| reason), expected, "{said}");
        }
    }

    #[test]
    fn the_most_telling_line_is_the_message() {
        for (said, expected) in [
            ("Cloning into 'x'...\nfatal: no\nhint: yes", "no"),
            ("error: one\nfatal: two", "one"),
            ("remote: fatal: lies\nand truth", "and truth"),
            ("", "failed without a message"),
        ] {
            assert_eq!(main_line(said), expected, "{said}");
        }
    }
}
