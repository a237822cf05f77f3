//! The first label of a preview's host: `<port>-<id>-<key>`, and `<port>-<id>--<tag>-<key>` for a tenant that is not the default one. Pure.

use std::{fmt, str::FromStr};

use cabana_protocol::{Code, Error, SandboxId, Tenant, preview::PortAccess};
use serde::{Deserialize, Serialize};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::Port;
use crate::address::{Address, Tag};

/// Longest label of a host, in characters (RFC 1035).
const MAX_LABEL: usize = 63;

/// Most characters of a token that is drawn; of `[a-z2-7]`, 130 bits. The longest port and id leave 16, 80 bits, and 8 with a tag.
const DRAWN_LENGTH: usize = 26;

/// Fewest characters of a token. The words that stand in its place are shorter, so no token is taken for one.
const MIN_TOKEN: usize = 8;

/// Between id and tag.
const TAG: &str = "--";

/// In place of a token, where the access is public.
const PUBLIC: &str = "public";

/// In place of a token, where the access is private.
const PRIVATE: &str = "private";

/// What a host says about whose port is meant, and why the visitor should see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The port.
    pub port: Port,
    /// The sandbox.
    pub address: Address,
    /// The key.
    pub key: Key,
}

/// What opens a port: the last part of the label. It says which access the port must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// Nothing is needed.
    Public,
    /// The API's credentials, which the Worker has checked.
    Private,
    /// This token.
    Token(Token),
}

/// The secret part of a URL.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Label {
    /// Reads a label in lower case; `None` where it is none of ours.
    pub fn parse(label: &str) -> Option<Self> {
        let (port, rest) = label.split_once('-')?;
        let (named, key) = rest.rsplit_once('-')?;
        let (id, tag) = split_tag(named);
        let address = Address::tagged(id.parse::<SandboxId>().ok()?, tag);
        // What would be written otherwise is another name for the same sandbox, as an id that is to be normalised is: no URL of ours has it.
        let plain = label.len() <= MAX_LABEL && sandbox(&address) == named;
        plain.then(|| Some(Self { port: port.parse().ok()?, address, key: Key::parse(key)? })).flatten()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match &self.key {
            Key::Public => PUBLIC,
            Key::Private => PRIVATE,
            Key::Token(token) => token.as_str(),
        };
        write!(formatter, "{}-{}-{key}", self.port, sandbox(&self.address))
    }
}

/// What stands for a sandbox in a label. An id that ends as though it had a tag has one also for the default tenant.
fn sandbox(address: &Address) -> String {
    let id = address.id();
    let tag = address.tag().or_else(|| split_tag(id.as_str()).1.map(|_| Tag::of(&Tenant::default())));
    tag.map_or_else(|| id.to_string(), |tag| format!("{id}{TAG}{}", tag.as_str()))
}

/// Id and tag, where there is one.
fn split_tag(sandbox: &str) -> (&str, Option<Tag>) {
    let tagged = sandbox.rsplit_once(TAG).and_then(|(id, tag)| Some((id, tag.parse().ok()?)));
    tagged.map_or((sandbox, None), |(id, tag)| (id, Some(tag)))
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        match text {
            PUBLIC => Some(Self::Public),
            PRIVATE => Some(Self::Private),
            text => text.parse().ok().map(Self::Token),
        }
    }

    /// The key of a port with this access.
    pub fn new(access: PortAccess, token: Option<Token>) -> Option<Self> {
        match access {
            PortAccess::Public => Some(Self::Public),
            PortAccess::Private => Some(Self::Private),
            PortAccess::Token => token.map(Self::Token),
        }
    }

    /// Whether this, which a visitor brings, opens what `other` opens. How long it takes says nothing about a token but its length.
    pub fn opens(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Token(one), Self::Token(other)) => one.0.as_bytes().ct_eq(other.0.as_bytes()).into(),
            (Self::Public, Self::Public) | (Self::Private, Self::Private) => true,
            _ => false,
        }
    }
}

impl Token {
    /// How many characters a token may have beside this port and sandbox.
    pub fn max_length(port: Port, address: &Address) -> usize {
        MAX_LABEL - port.to_string().len() - sandbox(address).len() - "--".len()
    }

    /// A token as long as fits, up to 26 characters, out of at least as many random characters of `[a-z2-7]`.
    pub fn draw(port: Port, address: &Address, random: &str) -> Self {
        Self(random.chars().take(DRAWN_LENGTH.min(Self::max_length(port, address))).collect())
    }

    /// A token of the caller's choice.
    ///
    /// Fails with `invalid_request` where the label would not be valid, or longer than DNS allows.
    pub fn choose(text: &str, port: Port, address: &Address) -> Result<Self, Error> {
        let max_length = Self::max_length(port, address);
        let token = text.parse::<Self>().ok().filter(|_| text.len() <= max_length);
        token.ok_or_else(|| {
            let rule = "lower-case letters and digits: hosts have no upper case, underscores are not allowed in them, and hyphens separate";
            let message = format!("a token has {MIN_TOKEN} to {max_length} characters beside this port and id, all {rule}");
            let details = json!({ "min_length": MIN_TOKEN, "max_length": max_length });
            Error::new(Code::InvalidRequest, message).with_details(details)
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let valid = plain && (MIN_TOKEN..=MAX_LABEL).contains(&text.len());
        valid.then(|| Self(text.to_owned())).ok_or_else(|| Error::invalid_request("not a token"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(port: u16, id: &str, key: Key) -> Label {
        tagged(port, id, "default", key)
    }

    fn tagged(port: u16, id: &str, tenant: &str, key: Key) -> Label {
        let address = Address::new(id.parse().unwrap(), &tenant.parse().unwrap());
        Label { port: port.try_into().unwrap(), address, key }
    }

    fn token(text: &str) -> Key {
        Key::Token(text.parse().unwrap())
    }

    #[test]
    fn labels_there_and_back() {
        for (text, expected) in [
            ("3000-sbx-a-public", label(3000, "sbx-a", Key::Public)),
            ("80-sbx-a-private", label(80, "sbx-a", Key::Private)),
            ("3000-sbx-a-abcdefgh", label(3000, "sbx-a", token("abcdefgh"))),
            ("1-py-a-b--c-public-01234567", label(1, "py-a-b--c-public", token("01234567"))),
            ("65535-sbx-3000-public-private", label(65535, "sbx-3000-public", Key::Private)),
        ] {
            assert_eq!(Label::parse(text), Some(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), text);
        }
    }

    #[test]
    fn labels_of_all_tenants_are_told_apart() {
        let ids =
            ["sbx-a", "sbx-a--abcdef", "sbx-a--abcdef--abcdef", "sbx-a--abcde", "sbx-public", &format!("sbx-{}", "a".repeat(36))];
        let tenants = ["default", "acme", "acme-2"];
        let mut seen = Vec::new();
        for (id, tenant) in ids.into_iter().flat_map(|id| tenants.map(|tenant| (id, tenant))) {
            for key in [Key::Public, Key::Private, token("abcdefgh")] {
                let label = tagged(65535, id, tenant, key);
                let text = label.to_string();
                assert_eq!(Label::parse(&text), Some(label), "{text}");
                assert!(!seen.contains(&text), "{text}");
                seen.push(text);
            }
        }
    }

    #[test]
    fn what_is_no_label() {
        let long = format!("3000-sbx-{}-{}", "a".repeat(36), "b".repeat(20));
        for text in [
            "",
            "3000",
            "3000-",
            "3000-sbx-a",
            "3000-sbx-public",
            "3000-sbx-a-",
            "3000-sbx-a-secret",
            "3000-sbx-a-abc_efgh",
            "3000-sbx-a-ABCDEFGH",
            "3000-SBX-a-abcdefgh",
            "3000-sbx_a-abcdefgh",
            "0-sbx-a-abcdefgh",
            "03000-sbx-a-abcdefgh",
            "49983-sbx-a-abcdefgh",
            "99999-sbx-a-abcdefgh",
            "3000@evil-sbx-a-abcdefgh",
            "-sbx-a-abcdefgh",
            "--sbx-a-abcdefgh",
            "xn--3000-sbx-a-abcdefgh",
            "3000-xn--a-abcdefg\u{e9}",
            "3000-sbx-a.b-abcdefgh",
            "3000-sbx-a/b-abcdefgh",
            &long,
        ] {
            assert_eq!(Label::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_label_fits() {
        let random = "a".repeat(52);
        let longest = format!("sbx-{}", "a".repeat(36));
        for (port, id, tenant, length) in [
            (1, "s-a", "default", 26),
            (3000, "sbx-build-7", "acme", 26),
            (65535, &longest, "default", 16),
            (65535, &longest, "acme", 8),
        ] {
            let Label { port, address, .. } = tagged(port, id, tenant, Key::Public);
            let token = Token::draw(port, &address, &random);
            assert_eq!(token.as_str().len(), length, "{id}");
            let label = Label { port, address, key: Key::Token(token) }.to_string();
            assert!(label.len() <= MAX_LABEL && Label::parse(&label).is_some(), "{label}");
        }
    }

    #[test]
    fn tokens_of_ones_own() {
        let Label { port, address, .. } = label(3000, "sbx-a", Key::Public);
        for (text, valid) in [
            ("abcdefgh", true),
            ("01234567", true),
            (&"a".repeat(52), true),
            (&"a".repeat(53), false),
            ("abcdefg", false),
            ("public", false),
            ("abcd_fgh", false),
            ("abcd-fgh", false),
            ("Abcdefgh", false),
            ("abcdefg\n", false),
        ] {
            assert_eq!(Token::choose(text, port, &address).is_ok(), valid, "{text}");
        }
        let details = Token::choose("", port, &address).unwrap_err().details.unwrap();
        assert_eq!(details, json!({ "min_length": 8, "max_length": 52 }));
    }

    #[test]
    fn keys_open_their_own_kind() {
        let keys = [Key::Public, Key::Private, token("abcdefgh"), token("abcdefgi"), token("abcdefghi")];
        for (one, key) in keys.iter().enumerate() {
            for (other, lock) in keys.iter().enumerate() {
                assert_eq!(key.opens(lock), one == other, "{key:?} {lock:?}");
            }
        }
    }

    #[test]
    fn a_token_shows_nowhere() {
        assert_eq!(format!("{:?}", token("abcdefgh")), "Token(Token(…))");
    }
}
