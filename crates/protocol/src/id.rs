//! Names that are safe to route by: parsed once, at the edge, and valid ever after.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Error, text::is_text};

/// Names a sandbox: `<kind>-<name>`, for instance `sbx-build-7`.
///
/// At most 40 characters of `[a-z0-9-]`, starting with a letter or digit and ending with one, so that it fits into a DNS label
/// beside a port and a token. The kind is a word, or several with hyphens between them, see [`Self::kind_among`]; it selects the image. Parsing
/// normalises: upper case becomes lower, `_` becomes `-`. The same id is the same sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct SandboxId(String);

impl SandboxId {
    /// Longest id, in characters.
    pub const MAX_LENGTH: usize = 40;

    /// The kind of a sandbox that asks for none.
    pub const DEFAULT_KIND: &'static str = "sbx";

    /// The id of this kind and name.
    ///
    /// Fails with `invalid_request` where the two do not make a valid id.
    pub fn new(kind: &str, name: &str) -> Result<Self, Error> {
        format!("{kind}-{name}").parse()
    }

    /// The longest of these kinds with which it begins, a hyphen following; what stands before the first hyphen where it is none of them.
    pub fn kind_among<'a>(&'a self, kinds: impl Iterator<Item = &'a str>) -> &'a str {
        let begins = |kind: &&str| self.0.strip_prefix(*kind).is_some_and(|rest| rest.starts_with('-'));
        let first = || self.0.split_once('-').map_or(self.0.as_str(), |(kind, _)| kind);
        kinds.filter(begins).max_by_key(|kind| kind.len()).unwrap_or_else(first)
    }
}

impl FromStr for SandboxId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > Self::MAX_LENGTH {
            return Err(invalid(text, "longer than 40 characters"));
        }
        let id: String = text.chars().map(|char| if char == '_' { '-' } else { char.to_ascii_lowercase() }).collect();
        let Some((kind, name)) = id.split_once('-') else {
            return Err(nameless(text, &id));
        };
        if kind.is_empty() || name.is_empty() || name.starts_with('-') || name.ends_with('-') {
            return Err(invalid(text, "kind and name start and end with a letter or digit"));
        }
        if !id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            return Err(invalid(text, "only letters, digits and hyphens are allowed"));
        }
        Ok(Self(id))
    }
}

/// The error for an id that is a kind or a name alone. Most are a name.
fn nameless(text: &str, id: &str) -> Error {
    let form = "an id is <kind>-<name>";
    match SandboxId::new(SandboxId::DEFAULT_KIND, id) {
        Ok(meant) if id != SandboxId::DEFAULT_KIND => {
            invalid(text, &format!("{form}; did you mean \"{meant}\"?")).with_details(json!({ "did_you_mean": meant }))
        }
        _ => invalid(text, form),
    }
}

fn invalid(text: &str, why: &str) -> Error {
    let shown: String = text.chars().take(SandboxId::MAX_LENGTH + 1).collect();
    Error::invalid_request(format!("{shown:?} is not a sandbox's id: {why}")).with_details(json!({ "reason": "invalid_id" }))
}

is_text!(SandboxId);

/// Names a process: `<incarnation>-<number>`, for instance `k3x9ab-17`.
///
/// The incarnation is drawn anew at each start of the agent, so an id from before a restart never means another process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct ProcessId(String);

impl ProcessId {
    /// The id of the `number`th process of this incarnation.
    pub fn new(incarnation: &str, number: u64) -> Self {
        Self(format!("{incarnation}-{number}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_normalised() {
        for (text, id) in [("sbx-a", "sbx-a"), ("sbx_123", "sbx-123"), ("SBX-Ab_9", "sbx-ab-9"), ("py-a-b-c", "py-a-b-c")] {
            assert_eq!(text.parse::<SandboxId>().unwrap().as_str(), id, "{text}");
        }
    }

    #[test]
    fn a_name_alone_is_told_its_id() {
        let error = "tour".parse::<SandboxId>().unwrap_err();
        assert_eq!(error.message, r#""tour" is not a sandbox's id: an id is <kind>-<name>; did you mean "sbx-tour"?"#);
        assert_eq!(error.details.unwrap()["did_you_mean"], "sbx-tour");
        for text in ["", "sbx", "a.b"] {
            assert!(text.parse::<SandboxId>().unwrap_err().details.unwrap()["did_you_mean"].is_null(), "{text}");
        }
    }

    #[test]
    fn what_could_not_be_a_dns_label_is_refused() {
        let long = format!("sbx-{}", "a".repeat(37));
        for text in
            ["", "sbx", "-a", "sbx-", "sbx--a", "sbx-a-", "sbx-a.b", "sbx-a/b", "sbx-\u{e9}", "sbx-a b", "sbx-\u{212a}", &long]
        {
            assert!(text.parse::<SandboxId>().is_err(), "{text}");
        }
        assert!(format!("sbx-{}", "a".repeat(36)).parse::<SandboxId>().is_ok());
    }

    #[test]
    fn an_id_is_of_the_longest_kind_that_it_begins_with() {
        let kinds = ["code", "code-interpreter", "py", "p"];
        for (kind, name) in [("py", "build-7"), ("code-interpreter", "a"), ("code", "interpreter"), ("other", "py-a")] {
            let id = SandboxId::new(kind, name).unwrap();
            assert_eq!((id.as_str(), id.kind_among(kinds.into_iter())), (format!("{kind}-{name}").as_str(), kind));
        }
    }
}
