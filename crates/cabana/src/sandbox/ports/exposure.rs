//! A port's record: how it is reached from outside, and how a request changes that. Pure.

use cabana_protocol::{
    Code, Error,
    names::{excluded_field, invalid_field},
    preview::{ExposePort, ExposedPort, PortAccess},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Address,
    preview::{Domain, Key, Label, Port, Token},
};

/// Longest name, in characters.
const MAX_NAME: usize = 64;

/// Longest time until a URL stops working, in milliseconds: 366 days.
const MAX_EXPIRY_MS: u64 = 366 * 24 * 3_600_000;

/// A port that is reached from outside. It has no `Debug`: its token belongs into no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exposure {
    pub(super) port: Port,
    pub(super) name: Option<String>,
    pub(super) access: PortAccess,
    /// With the access `token`.
    pub(super) token: Option<Token>,
    /// Whether a visit starts a container.
    pub(super) wakes: bool,
    /// In milliseconds since 1970.
    pub(super) expires_at_ms: Option<u64>,
    /// In milliseconds since 1970.
    pub(super) created_at_ms: u64,
}

impl Exposure {
    /// What a request makes of what is there. `draw` gives random characters of `[a-z2-7]`, for a token.
    ///
    /// Fails with `invalid_request`.
    pub(super) fn of(
        request: ExposePort,
        present: Option<&Self>,
        address: &Address,
        now_ms: u64,
        draw: impl FnOnce() -> String,
    ) -> Result<Self, Error> {
        let port = Port::try_from(request.port)?;
        // A token says what the access is to be.
        let asked = request.access.or(request.token.is_some().then_some(PortAccess::Token));
        let access = asked.or(present.map(|present| present.access)).unwrap_or_default();
        let kept = present.and_then(|present| present.token.clone());
        let token = match (access, request.token) {
            (PortAccess::Token, Some(token)) => Some(Token::choose(&token, port, address)?),
            (PortAccess::Token, None) => Some(kept.unwrap_or_else(|| Token::draw(port, address, &draw()))),
            (_, Some(_)) => return Err(excluded_field("token", "goes with the access `token` only")),
            (_, None) => None,
        };
        let unchanged = present.filter(|present| present.access == access).map(|present| present.wakes);
        Ok(Self {
            port,
            name: check_name(request.name)?.or_else(|| present.and_then(|present| present.name.clone())),
            access,
            token,
            wakes: request.wakes.or(unchanged).unwrap_or(access != PortAccess::Public),
            expires_at_ms: match request.expires_in_ms {
                None => present.and_then(|present| present.expires_at_ms),
                Some(span @ 1..=MAX_EXPIRY_MS) => Some(now_ms.saturating_add(span)),
                Some(_) => return Err(bad_expiry()),
            },
            created_at_ms: present.map_or(now_ms, |present| present.created_at_ms),
        })
    }

    /// Whether this is another port with the same token.
    pub(super) fn shares_token_with(&self, other: &Self) -> bool {
        self.port != other.port && self.token.is_some() && self.token == other.token
    }

    /// Whether it is over.
    pub(super) fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|end| end <= now_ms)
    }

    /// Whether a visitor with this key may come in.
    pub(super) fn is_opened_by(&self, key: &Key) -> bool {
        Key::new(self.access, self.token.clone()).is_some_and(|own| key.opens(&own))
    }

    /// What callers see. `rfc3339` writes an instant.
    pub(super) fn describe(&self, address: &Address, domain: Option<&Domain>, rfc3339: impl Fn(u64) -> String) -> ExposedPort {
        let key = Key::new(self.access, self.token.clone());
        let label = key.map(|key| Label { port: self.port, address: address.clone(), key });
        ExposedPort {
            port: self.port.number(),
            name: self.name.clone(),
            url: domain.zip(label).map(|(domain, label)| domain.url(&label)),
            path: format!("/v1/sandboxes/{}/ports/{}/proxy/", address.id(), self.port),
            access: self.access,
            token: self.token.as_ref().map(|token| token.as_str().to_owned()),
            wakes: self.wakes,
            expires_at: self.expires_at_ms.map(&rfc3339),
            created_at: rfc3339(self.created_at_ms),
        }
    }
}

fn check_name(name: Option<String>) -> Result<Option<String>, Error> {
    let fits = |name: &String| (1..=MAX_NAME).contains(&name.chars().count()) && !name.contains(char::is_control);
    match name {
        Some(name) if !fits(&name) => {
            Err(invalid_field("name", &format!("1 to {MAX_NAME} characters without control characters")))
        }
        name => Ok(name),
    }
}

fn bad_expiry() -> Error {
    let message = format!("expires_in_ms must be from 1 to {MAX_EXPIRY_MS}");
    Error::new(Code::InvalidRequest, message).with_details(json!({ "max_ms": MAX_EXPIRY_MS }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn address() -> Address {
        "sbx-a".parse().unwrap()
    }

    /// What the requests, one after the other, have made of port 3000; each draws other characters.
    fn after(requests: &[serde_json::Value]) -> Result<ExposedPort, Code> {
        let mut present: Option<Exposure> = None;
        for (number, request) in requests.iter().enumerate() {
            let mut request = request.clone();
            request.as_object_mut().unwrap().entry("port").or_insert(json!(3000));
            let draw = || char::from(b'a' + u8::try_from(number).unwrap()).to_string().repeat(26);
            let request = serde_json::from_value(request).unwrap();
            let exposure = Exposure::of(request, present.as_ref(), &address(), NOW + number as u64, draw);
            present = Some(exposure.map_err(|error| error.code)?);
        }
        let domain = Domain::parse("p.example.com");
        Ok(present.unwrap().describe(&address(), domain.as_ref(), |instant| instant.to_string()))
    }

    fn host(key: &str) -> Option<String> {
        Some(format!("https://3000-sbx-a-{key}.p.example.com/"))
    }

    #[test]
    fn the_url_is_the_same_until_told_otherwise() {
        let (a, b, z) = ("a".repeat(26), "b".repeat(26), "z".repeat(10));
        for (requests, key, wakes) in [
            (vec![json!({})], a.as_str(), true),
            (vec![json!({}), json!({})], &a, true),
            (vec![json!({}), json!({ "access": "token", "name": "x" })], &a, true),
            (vec![json!({}), json!({ "token": &z })], &z, true),
            (vec![json!({ "token": &z }), json!({})], &z, true),
            (vec![json!({ "access": "public" })], "public", false),
            (vec![json!({ "access": "public", "wakes": true }), json!({})], "public", true),
            (vec![json!({ "access": "public", "wakes": true }), json!({ "access": "private" })], "private", true),
            (vec![json!({ "wakes": false }), json!({})], &a, false),
            (vec![json!({}), json!({ "access": "public" })], "public", false),
            (vec![json!({ "access": "public" }), json!({ "access": "token" })], &b, true),
            (vec![json!({ "access": "private" }), json!({ "token": &z })], &z, true),
        ] {
            let port = after(&requests).unwrap();
            assert_eq!((port.url, port.wakes), (host(key), wakes), "{requests:?}");
            assert_eq!(port.token.as_deref(), (!["public", "private"].contains(&key)).then_some(key), "{requests:?}");
            assert_eq!(port.created_at, NOW.to_string(), "{requests:?}");
        }
    }

    #[test]
    fn names_and_ends_stay_too() {
        let port = after(&[json!({ "name": "web", "expires_in_ms": 10 }), json!({ "access": "public" })]).unwrap();
        assert_eq!((port.name.as_deref(), port.expires_at), (Some("web"), Some((NOW + 10).to_string())));
        let port =
            after(&[json!({ "name": "web", "expires_in_ms": 10 }), json!({ "name": "api", "expires_in_ms": 20 })]).unwrap();
        assert_eq!((port.name.as_deref(), port.expires_at), (Some("api"), Some((NOW + 21).to_string())));
    }

    #[test]
    fn what_is_refused() {
        for request in [
            json!({ "port": 0 }),
            json!({ "port": 49983 }),
            json!({ "token": "short" }),
            json!({ "token": "public00-" }),
            json!({ "token": "abcd_efgh" }),
            json!({ "access": "public", "token": "abcdefgh" }),
            json!({ "access": "private", "token": "abcdefgh" }),
            json!({ "name": "" }),
            json!({ "name": "a".repeat(65) }),
            json!({ "name": "a\nb" }),
            json!({ "expires_in_ms": 0 }),
            json!({ "expires_in_ms": MAX_EXPIRY_MS + 1 }),
        ] {
            assert_eq!(after(std::slice::from_ref(&request)), Err(Code::InvalidRequest), "{request}");
        }
    }

    #[test]
    fn only_its_key_opens_it_and_only_in_time() {
        let of =
            |request| Exposure::of(serde_json::from_value(request).unwrap(), None, &address(), NOW, || "a".repeat(26)).unwrap();
        let token = of(json!({ "port": 3000, "expires_in_ms": 5 }));
        let right = Key::Token("a".repeat(26).parse().unwrap());
        assert!(token.is_opened_by(&right));
        for wrong in [Key::Public, Key::Private, Key::Token("a".repeat(25).parse().unwrap())] {
            assert!(!token.is_opened_by(&wrong), "{wrong:?}");
        }
        assert!(of(json!({ "port": 1, "access": "public" })).is_opened_by(&Key::Public));
        assert!(!of(json!({ "port": 1, "access": "private" })).is_opened_by(&Key::Public));
        assert_eq!([NOW + 4, NOW + 5].map(|now| token.is_expired(now)), [false, true]);
    }
}
