//! API keys: made, listed, renamed and revoked through `/v1/keys`. Answered by the gateway.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Scopes, Tenant, text::is_text};

/// Names a key, and is no secret: 26 characters of `[a-z2-7]`, 128 random bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl KeyId {
    /// Its length, in characters.
    pub const LENGTH: usize = 26;
}

impl FromStr for KeyId {
    type Err = Error;

    /// Fails with `not_found`: what is no id names no key.
    fn from_str(text: &str) -> Result<Self, Error> {
        let valid = text.len() == Self::LENGTH && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
        if valid { Ok(Self(text.to_owned())) } else { Err(no_such_key()) }
    }
}

is_text!(KeyId);

/// What there is to say of a key that is not there, or another tenant's.
pub fn no_such_key() -> Error {
    Error::not_found("there is no such key").because("no_such_key")
}

/// `POST /v1/keys`: makes a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateKey {
    /// What it is for, in the words of whoever makes it: 1 to 100 characters.
    #[serde(default)]
    pub name: String,
    /// Whose sandboxes it is for. Only the operator may choose; default: the maker's tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// What it is good for, no more than its maker is. Default: what its maker is good for, but for the operator's keys everything except
    /// the management of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
    /// When it ends, RFC 3339, no later than its maker's credentials. Default: with those, or never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The same as a span from now, in milliseconds; at most one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// `PATCH /v1/keys/{id}`: renames a key. What it is good for never changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateKey {
    /// What it is for: 1 to 100 characters.
    #[serde(default)]
    pub name: String,
}

/// A key, as it is shown; the secret never is, but once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// What it is for.
    pub name: String,
    /// Whose sandboxes it is for.
    pub tenant: Tenant,
    /// What it is good for.
    pub scopes: Scopes,
    /// Who made it.
    pub created_by: String,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// When it ends by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// When it was last used, to within a quarter of an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// A key that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewKey {
    /// What is shown of it from now on.
    #[serde(flatten)]
    pub shown: Key,
    /// The key itself, `cab_<id>_<secret>`. Nobody can show it again.
    pub key: String,
}

/// A page of keys, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeyPage {
    /// The keys.
    #[serde(rename = "items")]
    pub keys: Vec<Key>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn ids() {
        let id = "abcdefghijklmnopqrstuvwx27";
        assert_eq!(id.parse::<KeyId>().unwrap().as_str(), id);
        for odd in
            ["", "a", "ABCDEFGHIJKLMNOPQRSTUVWX27", "abcdefghijklmnopqrstuvwx1_", "abcdefghijklmnopqrstuvwx277", "constructor"]
        {
            assert_eq!(odd.parse::<KeyId>().unwrap_err().code, Code::NotFound, "{odd}");
        }
    }
}
