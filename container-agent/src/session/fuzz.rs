//! Fuzzing of what a session's shell is told and reports.

use super::script::{Report, quote};

/// A report is read as it was written, or is nobody's; and a text that is quoted is read as one word by the rules of a shell (POSIX,
/// 2.2): nothing of it is ever a command.
pub fn session(bytes: &[u8]) {
    if let Some(report) = Report::parse(bytes) {
        let written = match report {
            Report::Opened { run } => format!("{run} open\n"),
            Report::Reached { run, report, status } => format!("{run} {report} {status}\n"),
        };
        assert_eq!(Report::parse(written.as_bytes()), Some(report));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(word(&quote(text)).as_deref(), Some(text));
    }
}

/// The word that a shell reads here; `None` where it would read anything else.
fn word(script: &str) -> Option<String> {
    let (mut word, mut quoted, mut letters) = (String::new(), false, script.chars());
    while let Some(letter) = letters.next() {
        match (letter, quoted) {
            ('\'', _) => quoted = !quoted,
            (letter, true) => word.push(letter),
            ('\\', false) => word.push(letters.next()?),
            _ => return None,
        }
    }
    (!quoted).then_some(word)
}
