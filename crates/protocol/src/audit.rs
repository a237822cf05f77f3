//! The audit trail: what was asked of a sandbox, by whom, and what came of it.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::{Code, Tenant};

/// The header in which the agent says what an operation was about, as [`encode`](crate::header::encode) writes it. It ends at the Durable
/// Object.
pub const SUMMARY_HEADER: &str = "x-cabana-summary";

/// The header in which the agent names the code of a failure, for hops that read no bodies. It ends at the Durable Object.
pub const CODE_HEADER: &str = "x-cabana-code";

/// The header in which the agent says how many bytes an upload has brought: to count them on their way, a hop would have to read them. It ends
/// at the Durable Object.
pub const RECEIVED_HEADER: &str = "x-cabana-received";

/// Longest summary, in characters.
pub const MAX_SUMMARY: usize = 200;

/// One request, as `GET /v1/sandboxes/{id}/audit` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditEntry {
    /// Its number; it only grows. The numbers in between are ends of requests that took long, or entries that other parameters show.
    pub id: u64,
    /// When it came, RFC 3339 in UTC.
    pub at: String,
    /// Who asked, for instance `key:k3x9`.
    pub principal: String,
    /// On whose behalf.
    pub tenant: Tenant,
    /// What was asked for, `family.verb`.
    pub operation: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The HTTP status of the answer; absent where none had been given yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From when it came to the end of its answer, in milliseconds; absent where that was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Bytes of its body; where it announced its length, these.
    pub bytes_in: u64,
    /// Bytes of the answer's body; where it announced its length, these.
    pub bytes_out: u64,
    /// The request's name in every hop's logs.
    pub request_id: String,
    /// What it was about, without secrets and in one line: the word of the agent, which runs in the sandbox; of a setup, the project's
    /// name; of a request that network rules denied (`network.request`), the rule, method, host and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_summary: Option<String>,
    /// What chains it to the record before it, see [`AuditVerification`].
    pub hash: String,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Outcome {
    /// It was not refused.
    Taken(Course),
    /// It was answered by an error of this code.
    Failed(Code),
}

/// How far a request came that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// It was answered at once and as a whole.
    Ok,
    /// It is under way.
    Open,
    /// Its answer was a stream, which has come to its end. What the stream says of the operation's end, only its reader knows.
    Finished,
    /// The caller left before the end.
    Cut,
    /// The answer broke off.
    Broken,
    /// The sandbox's Durable Object was not there to see the end.
    Lost,
}

impl Outcome {
    /// Answered at once and as a whole.
    pub const OK: Self = Self::Taken(Course::Ok);

    /// Under way.
    pub const OPEN: Self = Self::Taken(Course::Open);
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(course) => course.serialize(formatter),
            Self::Failed(code) => code.serialize(formatter),
        }
    }
}

/// A page of the audit trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditPage {
    /// The entries, newest first.
    #[serde(rename = "items")]
    pub entries: Vec<AuditEntry>,
    /// What to pass as `cursor` for the entries before these; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What a check of a page of the trail found. Each record carries the SHA-256 of the hash of the record before it and its own content, so
/// that one that was changed, taken out or moved shows. That the newest were taken out, or all were rewritten, shows by `anchor`, as far as
/// that is known; for what is newer, note `head` elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditVerification {
    /// Whether every record is as it was written, and none is missing.
    pub intact: bool,
    /// The first number that is not as it must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<u64>,
    /// How many records were checked: an entry is one, and so is the end of a request that took long.
    pub records: u64,
    /// The number of the last record that was checked; 0 where there is none.
    pub last: u64,
    /// The hash of the last record that was checked.
    pub head: String,
    /// The number of the record whose hash is known outside the sandbox's own storage: that it is there, unchanged, was checked. Absent
    /// where none is known, or it is not among the records of this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<u64>,
    /// Where the next page begins; absent with the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// One line of at most [`MAX_SUMMARY`] characters: what could break a line, move a terminal's cursor or turn the reading direction is
/// escaped.
pub fn line(text: &str) -> String {
    let mut line = String::new();
    let mut room = MAX_SUMMARY;
    for character in text.trim().chars() {
        let start = line.len();
        match character {
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            character if is_deceptive(character) => write!(line, "\\u{{{:x}}}", u32::from(character)).unwrap_or_default(),
            character => line.push(character),
        }
        let characters = line[start..].chars().count();
        if characters > room {
            line.truncate(start);
            break;
        }
        room -= characters;
    }
    line
}

fn is_deceptive(character: char) -> bool {
    let invisible = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    character.is_control() || invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_words() {
        for (outcome, word) in [
            (Outcome::OK, "ok"),
            (Outcome::Taken(Course::Cut), "cut"),
            (Outcome::Failed(Code::NotFound), "not_found"),
            (Outcome::Failed(Code::Internal), "internal"),
        ] {
            assert_eq!(outcome.to_string(), word);
            assert_eq!(serde_json::to_value(outcome).unwrap(), word);
            assert_eq!(serde_json::from_value::<Outcome>(word.into()).unwrap(), outcome);
        }
    }

    #[test]
    fn a_summary_is_one_line() {
        let long = "\u{e9}".repeat(MAX_SUMMARY + 1);
        let nearly = format!("{}\n", "a".repeat(MAX_SUMMARY - 1));
        for (text, expected) in [
            ("", ""),
            (" ls -l ", "ls -l"),
            ("a\nb\tc\r\0", "a\\nb\\tc\\u{d}\\u{0}"),
            ("\u{1b}[2Kok", "\\u{1b}[2Kok"),
            ("a\u{202e}b\u{85}\u{2028}c", "a\\u{202e}b\\u{85}\\u{2028}c"),
            (r#"{"outcome":"ok"}"#, r#"{"outcome":"ok"}"#),
            (&long, &long[..2 * MAX_SUMMARY]),
            (&nearly, &nearly[..MAX_SUMMARY - 1]),
        ] {
            assert_eq!(line(text), expected);
        }
        assert_eq!(line(&format!("{nearly}b")), nearly[..MAX_SUMMARY - 1]);
    }
}
