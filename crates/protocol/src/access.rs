//! Who may do what: tenants, scopes, and what a request amounts to. Pure.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, SandboxId};

/// Names whoever owns sandboxes: at most 64 characters of `[a-z0-9-]`, starting and ending with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(String);

impl Tenant {
    /// Longest name, in characters.
    pub const MAX_LENGTH: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    /// The tenant of a deployment that knows of no others.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for Tenant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let edges = [text.bytes().next(), text.bytes().next_back()];
        let valid = text.len() <= Self::MAX_LENGTH
            && edges.iter().all(|byte| byte.is_some_and(plain))
            && text.bytes().all(|byte| plain(byte) || byte == b'-');
        if valid {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(Self::MAX_LENGTH + 1).collect();
        let rule = "at most 64 lower-case letters, digits and hyphens, no hyphen at either end";
        Err(Error::invalid_request(format!("not a tenant: {shown:?}: {rule}")))
    }
}

impl TryFrom<String> for Tenant {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Tenant> for String {
    fn from(tenant: Tenant) -> Self {
        tenant.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a key or token is good for, within its tenant. The default is everything but the management of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Scopes {
    /// On which sandboxes: ids, in which each `*` stands for any characters. Default: on all, and on what belongs to none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sandboxes: Vec<String>,
    /// For what: families (`file`) and operations (`file.read`). Default: for everything but `key`, which is only had by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    /// Only for what changes nothing. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// What a request amounts to, for whoever decides whether it is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access<'a> {
    /// The sandbox that it is about.
    pub sandbox: Option<&'a SandboxId>,
    /// What it does, `family.verb`; the families of operations and of control share one space of names.
    pub operation: &'a str,
    /// Whether it changes nothing.
    pub read_only: bool,
}

impl Scopes {
    /// The family that must be asked for by name: whoever may make keys may give away what he has.
    pub const KEY_FAMILY: &'static str = "key";

    /// Whether a request is allowed.
    ///
    /// Fails with `forbidden`, saying what is missing.
    pub fn check(&self, access: &Access<'_>) -> Result<(), Error> {
        self.check_operation(access)?;
        let forbidden = |what: String| Err(Error::new(crate::Code::Forbidden, what));
        match access.sandbox {
            _ if self.sandboxes.is_empty() => Ok(()),
            Some(id) if self.sandboxes.iter().any(|pattern| matches(pattern, id.as_str())) => Ok(()),
            Some(_) => forbidden("these credentials are not for this sandbox".to_owned()),
            None => forbidden(format!("these credentials are for certain sandboxes, and {} is about none", access.operation)),
        }
    }

    /// Whether a request is allowed on some sandbox, where it is not known yet on which: it is to be asked again with the sandbox.
    ///
    /// Fails with `forbidden`, saying what is missing.
    pub fn check_operation(&self, access: &Access<'_>) -> Result<(), Error> {
        let forbidden = |what: String| Err(Error::new(crate::Code::Forbidden, what));
        if self.read_only && !access.read_only {
            return forbidden(format!("{} changes something, and these credentials are read-only", access.operation));
        }
        if !self.covers_operation(access.operation) {
            return forbidden(format!("these credentials are not for {}", access.operation));
        }
        Ok(())
    }

    fn covers_operation(&self, operation: &str) -> bool {
        let family = operation.split('.').next().unwrap_or_default();
        if self.operations.is_empty() {
            return family != Self::KEY_FAMILY;
        }
        self.operations.iter().any(|scope| scope == operation || scope == family)
    }
}

/// Whether `text` is what `pattern` says, in which each `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut pieces: Vec<_> = rest.split('*').collect();
    let tail = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(json: &str) -> Scopes {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn tenants() {
        for name in ["default", "a", "0", "team-7", &"a".repeat(64)] {
            assert_eq!(name.parse::<Tenant>().unwrap().as_str(), name);
        }
        for name in ["", "-a", "a-", "A", "a_b", "a b", "a\n", "\u{e9}", &"a".repeat(65)] {
            assert!(name.parse::<Tenant>().is_err(), "{name}");
        }
    }

    #[test]
    fn what_scopes_allow() {
        let id: SandboxId = "sbx-a-1".parse().unwrap();
        let some = Some(&id);
        for (json, sandbox, operation, read_only, allowed) in [
            ("{}", some, "exec", false, true),
            ("{}", None, "sandbox.create", false, true),
            ("{}", None, "key.create", false, false),
            (r#"{"operations":["key"]}"#, None, "key.create", false, true),
            (r#"{"operations":["key"]}"#, some, "exec", false, false),
            (r#"{"operations":["file"]}"#, some, "file.write", false, true),
            (r#"{"operations":["file"]}"#, some, "files", false, false),
            (r#"{"operations":["file.read"]}"#, some, "file.read", true, true),
            (r#"{"operations":["file.read"]}"#, some, "file.write", false, false),
            (r#"{"operations":["file.re"]}"#, some, "file.read", true, false),
            (r#"{"operations":["exec"]}"#, some, "exec", false, true),
            (r#"{"read_only":true}"#, some, "file.read", true, true),
            (r#"{"read_only":true}"#, some, "file.write", false, false),
            (r#"{"sandboxes":["sbx-a-1"]}"#, some, "exec", false, true),
            (r#"{"sandboxes":["sbx-a-*"]}"#, some, "exec", false, true),
            (r#"{"sandboxes":["sbx-b-*","*-1"]}"#, some, "exec", false, true),
            (r#"{"sandboxes":["sbx-b-*"]}"#, some, "exec", false, false),
            (r#"{"sandboxes":["sbx-a-1"]}"#, None, "sandbox.list", true, false),
        ] {
            let access = Access { sandbox, operation, read_only };
            assert_eq!(scopes(json).check(&access).is_ok(), allowed, "{json} {operation}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("aa*a", "aa", false),
            ("*b*b", "ab", false),
            ("abc", "abcd", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
