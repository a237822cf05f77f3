//! Secrets of a tenant, which are added to requests outside its sandboxes. Answered by the gateway, from its directory.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, text::is_text};

/// Names a secret within its tenant: 1 to 40 characters of `[a-z0-9-]`, starting and ending with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

impl SecretName {
    /// Longest name, in characters.
    pub const MAX_LENGTH: usize = 40;
}

impl FromStr for SecretName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let edges = !text.starts_with('-') && !text.ends_with('-');
        if (1..=Self::MAX_LENGTH).contains(&text.len()) && edges && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(Self::MAX_LENGTH + 1).collect();
        let rule = "1 to 40 lower-case letters, digits and hyphens, no hyphen at either end";
        Err(Error::invalid_request(format!("not a secret's name: {shown:?}: {rule}")))
    }
}

is_text!(SecretName);

/// `POST /v1/secrets`: stores a secret, or puts a new value in place of the stored one. It has no `Debug`: its value belongs into no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_debug_implementations)]
pub struct CreateSecret {
    /// Its name.
    pub name: SecretName,
    /// The value, which is never shown again: 8 to 4,096 printable ASCII characters.
    pub value: String,
    /// The hosts that it may be sent to, exact names, at most 16. Default: those that were set before, or else those that
    /// `network.secrets` of a sandbox names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
}

impl CreateSecret {
    /// Shortest and longest value, in bytes. A shorter one would be found in texts that do not hold it.
    pub const VALUE_BYTES: std::ops::RangeInclusive<usize> = 8..=4_096;

    /// The most hosts.
    pub const MAX_HOSTS: usize = 16;

    /// Fails with `invalid_request`, which does not quote the value.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |field: &str, why: &str| {
            let error = Error::invalid_request(format!("`{field}`: {why}"));
            Err(error.with_details(serde_json::json!({ "reason": "invalid_field", "field": field })))
        };
        if !Self::VALUE_BYTES.contains(&self.value.len()) {
            return invalid("value", "a secret has 8 to 4,096 bytes");
        }
        // A line break would end the header, and servers take spaces off its ends.
        let is_printable = self.value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !is_printable || self.value.trim() != self.value {
            return invalid("value", "a secret is printable ASCII, without a space at either end");
        }
        let hosts = self.hosts.as_deref().unwrap_or_default();
        if hosts.len() > Self::MAX_HOSTS {
            return invalid("hosts", "at most 16");
        }
        if let Some(host) = hosts.iter().find(|host| !is_host_name(host)) {
            return invalid("hosts", &format!("{:?} is no exact name of a host", shown(host)));
        }
        Ok(())
    }
}

/// A secret, as it is shown: everything but its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Secret {
    /// Its name.
    pub name: SecretName,
    /// The hosts that it may be sent to; absent where `network.secrets` of a sandbox alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// When its value was last set, RFC 3339 in UTC.
    pub updated_at: String,
}

/// A page of secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Secrets {
    /// In the order of their names.
    #[serde(rename = "items")]
    pub secrets: Vec<Secret>,
    /// Where the next page begins; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Whether this is the full name of one host, in lower case: no address, no pattern, no port.
pub(crate) fn is_host_name(host: &str) -> bool {
    let of_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(of_label);
    // A last label of digits would be an address, in one of the notations that URL parsers take.
    let is_address = host.rsplit('.').next().is_some_and(|last| last.starts_with(|first: char| first.is_ascii_digit()));
    // `all` and `none` are words of rules.
    host.len() <= 253 && host.contains('.') && !is_address && host.split('.').all(is_label)
}

/// The beginning of a text that a message quotes.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &str, hosts: Option<&[&str]>) -> CreateSecret {
        let hosts = hosts.map(|hosts| hosts.iter().map(|host| (*host).to_owned()).collect());
        CreateSecret { name: "github".parse().unwrap(), value: value.to_owned(), hosts }
    }

    #[test]
    fn values_and_hosts_that_cannot_be_sent_are_refused_without_the_value() {
        assert!(secret("hunter2-hunter2", Some(&["github.com", "api_2.github.com"])).check().is_ok());
        let long = "x".repeat(4_097);
        for value in ["", "hunter2", "hunter2\nX: y", " hunter2hunter2", "hunter2-h\u{fc}nter2", "hunter2\u{7f}hunter2", &long] {
            let error = secret(value, None).check().unwrap_err();
            assert!(error.message.starts_with("`value`") && !error.message.contains("hunter2"), "{}", error.message);
        }
        for host in
            ["", "GitHub.com", "*.github.com", "github.com:443", "10.0.0.1", "0x7f.1", "a..b", "[::1]", "a/b", "a.2", "all"]
        {
            assert!(secret("hunter2-hunter2", Some(&[host])).check().is_err(), "{host}");
        }
    }

    #[test]
    fn names() {
        for name in ["a", "git-hub", "0", &"a".repeat(40)] {
            assert_eq!(name.parse::<SecretName>().unwrap().as_str(), name);
        }
        for name in ["", "-a", "a-", "A", "a_b", "worker:a", &"a".repeat(41)] {
            assert!(name.parse::<SecretName>().is_err(), "{name}");
        }
    }
}
