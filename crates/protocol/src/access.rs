//! Who may do what: tenants, scopes, and what a request amounts to. Pure.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{Error, SandboxId, names::invalid_field, text::is_text};

/// Names whoever owns sandboxes: at most 64 characters of `[a-z0-9-]`, starting and ending with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(String);

impl Tenant {
    /// Longest name, in characters.
    pub const MAX_LENGTH: usize = 64;
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
        let rule = "at most 64 lower-case letters, digits and hyphens, no hyphen at either end";
        Err(Error::invalid_request(format!("not a tenant: {:?}: {rule}", short(text))))
    }
}

is_text!(Tenant);

/// What a key or token is good for, within its tenant. The default is everything but the management of keys.
///
/// A field that is not known here is refused, unlike elsewhere on the wire: to overlook a restriction is to grant what was withheld.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Scopes {
    /// On which sandboxes: at most 64 ids, in which each `*` stands for any characters. Default: on all, and on what belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandboxes: Option<Vec<String>>,
    /// For what: at most 64 families (`file`) and operations (`file.read`). Default: for everything but `key`, which is only had by its
    /// name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<String>>,
    /// Only for what changes nothing. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Takes an object and nothing else: an array would do for serde, and an empty one would mean everything.
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Scopes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of scopes")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scopes, A::Error> {
                Scopes::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
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

impl Access<'_> {
    /// To open a socket. Credentials for anything on a sandbox are good for it: its frames are judged one by one.
    pub const CONNECT: &'static str = "connect";
}

impl Scopes {
    /// The family that must be asked for by name: whoever may make keys may give away what he has.
    pub const KEY_FAMILY: &'static str = "key";

    /// Most sandboxes, and most operations, that can be named.
    pub const MAX_NAMES: usize = 64;

    /// Longest name of one, in characters.
    pub const MAX_NAME_LENGTH: usize = 64;

    /// Whether a request is allowed.
    ///
    /// Fails with `forbidden`, saying what is missing.
    pub fn check(&self, access: &Access<'_>) -> Result<(), Error> {
        self.check_operation(access)?;
        let forbidden = |what: String| Err(Error::new(crate::Code::Forbidden, what).because("scope"));
        match (&self.sandboxes, access.sandbox) {
            (None, _) => Ok(()),
            (Some(patterns), Some(id)) if patterns.iter().any(|pattern| matches(pattern, id.as_str())) => Ok(()),
            (Some(_), Some(_)) => forbidden("these credentials are not for this sandbox".to_owned()),
            (Some(_), None) => {
                forbidden(format!("these credentials are for certain sandboxes, and {} is about none", access.operation))
            }
        }
    }

    /// Whether a request is allowed on some sandbox, where it is not known yet on which: it is to be asked again with the sandbox.
    ///
    /// Fails with `forbidden`, saying what is missing.
    pub fn check_operation(&self, access: &Access<'_>) -> Result<(), Error> {
        let forbidden = |what: String| Err(Error::new(crate::Code::Forbidden, what).because("scope"));
        if self.read_only && !access.read_only {
            return forbidden(format!("{} changes something, and these credentials are read-only", access.operation));
        }
        if !self.covers_operation(access.operation) {
            return forbidden(format!("these credentials are not for {}", access.operation));
        }
        Ok(())
    }

    /// Whether all that `other` allows is allowed here, so that whoever has these may give those away.
    pub fn covers(&self, other: &Self) -> bool {
        let operations = match (&self.operations, &other.operations) {
            (_, Some(wanted)) => wanted.iter().all(|operation| self.covers_operation(operation)),
            (own, None) => own.is_none(),
        };
        let sandboxes = match (&self.sandboxes, &other.sandboxes) {
            (None, _) => true,
            (Some(_), None) => false,
            // A `*` of a wanted pattern is a character that only a `*` of ours can stand for.
            (Some(own), Some(wanted)) => wanted.iter().all(|wanted| own.iter().any(|pattern| matches(pattern, wanted))),
        };
        operations && sandboxes && (other.read_only || !self.read_only)
    }

    /// Fails with `invalid_request` where there are too many names, or what is none: a scope that can never match is a mistake.
    pub fn validate(&self) -> Result<(), Error> {
        let named = |names: &Option<Vec<String>>, what: &str, is_name: fn(u8) -> bool| {
            let names = names.as_deref().unwrap_or_default();
            let odd = |name: &&String| name.is_empty() || name.len() > Self::MAX_NAME_LENGTH || !name.bytes().all(is_name);
            if names.len() > Self::MAX_NAMES {
                return Err(invalid_field(&format!("scopes.{what}"), &format!("at most {} names", Self::MAX_NAMES)));
            }
            match names.iter().find(odd) {
                Some(odd) => Err(invalid_field(&format!("scopes.{what}"), &format!("names, got {:?}", short(odd)))),
                None => Ok(()),
            }
        };
        named(&self.sandboxes, "sandboxes", |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-*".contains(&byte))?;
        named(&self.operations, "operations", |byte| byte.is_ascii_lowercase() || b"._".contains(&byte))
    }

    fn covers_operation(&self, operation: &str) -> bool {
        if operation == Access::CONNECT {
            return self.operations.as_ref().is_none_or(|operations| !operations.is_empty());
        }
        let family = operation.split('.').next().unwrap_or_default();
        match &self.operations {
            None => family != Self::KEY_FAMILY,
            Some(scopes) => scopes.iter().any(|scope| scope == operation || scope == family),
        }
    }
}

/// What is shown of a text that is no name.
fn short(text: &str) -> String {
    text.chars().take(65).collect()
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
            (r#"{"operations":["file.read"],"read_only":true}"#, some, "connect", true, true),
            (r#"{"sandboxes":["sbx-b-*"]}"#, some, "connect", true, false),
            (r#"{"operations":[]}"#, some, "connect", true, false),
            (r#"{"read_only":true}"#, some, "file.read", true, true),
            (r#"{"read_only":true}"#, some, "file.write", false, false),
            (r#"{"sandboxes":["sbx-a-1"]}"#, some, "exec", false, true),
            (r#"{"sandboxes":["sbx-a-*"]}"#, some, "exec", false, true),
            (r#"{"sandboxes":["sbx-b-*","*-1"]}"#, some, "exec", false, true),
            (r#"{"sandboxes":["sbx-b-*"]}"#, some, "exec", false, false),
            (r#"{"sandboxes":["sbx-a-1"]}"#, None, "sandbox.list", true, false),
            (r#"{"sandboxes":[]}"#, some, "exec", false, false),
            (r#"{"operations":[]}"#, some, "exec", false, false),
            (r#"{"sandboxes":null,"operations":null}"#, some, "exec", false, true),
        ] {
            let access = Access { sandbox, operation, read_only };
            assert_eq!(scopes(json).check(&access).is_ok(), allowed, "{json} {operation}");
        }
    }

    #[test]
    fn what_may_be_given_away() {
        for (own, other, covered) in [
            ("{}", "{}", true),
            ("{}", r#"{"operations":["file"],"sandboxes":["*"],"read_only":true}"#, true),
            ("{}", r#"{"operations":["key"]}"#, false),
            ("{}", r#"{"operations":["key.list"]}"#, false),
            (r#"{"operations":["key"]}"#, r#"{"operations":["key.list"]}"#, true),
            (r#"{"operations":["key"]}"#, "{}", false),
            (r#"{"operations":["key","file"]}"#, r#"{"operations":["file.read"]}"#, true),
            (r#"{"operations":["file.read"]}"#, r#"{"operations":["file"]}"#, false),
            (r#"{"operations":["file.read"]}"#, r#"{"operations":[]}"#, true),
            (r#"{"read_only":true}"#, "{}", false),
            (r#"{"read_only":true}"#, r#"{"read_only":true}"#, true),
            (r#"{"sandboxes":["sbx-a-*"]}"#, "{}", false),
            (r#"{"sandboxes":["sbx-a-*"]}"#, r#"{"sandboxes":["sbx-a-1","sbx-a-b*"]}"#, true),
            (r#"{"sandboxes":["sbx-a-*"]}"#, r#"{"sandboxes":["sbx-a-1","sbx-*"]}"#, false),
            (r#"{"sandboxes":["sbx-a-*"]}"#, r#"{"sandboxes":["*"]}"#, false),
            (r#"{"sandboxes":["*-a","*-b"]}"#, r#"{"sandboxes":["*-x-b"]}"#, true),
            (r#"{"sandboxes":["a*c"]}"#, r#"{"sandboxes":["a*"]}"#, false),
        ] {
            assert_eq!(scopes(own).covers(&scopes(other)), covered, "{own} {other}");
        }
    }

    #[test]
    fn scopes_that_cannot_be() {
        for json in
            ["[]", r#"[["a"],null,false]"#, "null", r#"{"sandbox":["a"]}"#, r#"{"read_only":null}"#, r#"{"operations":"file"}"#]
        {
            assert!(serde_json::from_str::<Scopes>(json).is_err(), "{json}");
        }
        for json in ["{}", r#"{"sandboxes":["sbx-a","*"],"operations":["exec","file.read"]}"#] {
            assert!(scopes(json).validate().is_ok(), "{json}");
        }
        let many = |name: &str| format!(r#"{{"operations":["{}"]}}"#, [name; Scopes::MAX_NAMES + 1].join(r#"",""#));
        let long = format!(r#"{{"sandboxes":["{}"]}}"#, "a".repeat(Scopes::MAX_NAME_LENGTH + 1));
        for json in [r#"{"sandboxes":[""]}"#, r#"{"sandboxes":["SBX"]}"#, r#"{"operations":["file.*"]}"#, &many("exec"), &long] {
            assert!(scopes(json).validate().is_err(), "{json}");
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
