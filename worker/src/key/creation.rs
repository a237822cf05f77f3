//! What a new key may be. Pure.

use std::cell::Cell;

use cabana::{Code, KeyId, Principal, Tenant};
use cabana_protocol::{
    Error,
    key::{CreateKey, Key},
    names::{excluded_field, invalid_field},
};

use super::{Record, SecretDigest};
use crate::time;

/// Longest name, in characters.
const MAX_NAME: usize = 100;

/// The key that is asked for, of this id and secret.
///
/// Fails with `invalid_request`, and with `forbidden` where it would be more than its maker has.
pub fn plan(request: &CreateKey, maker: &Principal, now_ms: u64, id: KeyId, digest: SecretDigest) -> Result<Record, Error> {
    let expires_at_ms = end(request, maker, now_ms)?;
    let scopes = request.scopes.clone().unwrap_or_else(|| maker.scopes.clone());
    scopes.validate()?;
    maker.check_gift(&scopes)?;
    let shown = Key {
        id,
        name: name(&request.name)?,
        tenant: tenant(request, maker)?,
        scopes,
        created_by: maker.id.clone(),
        created_at: time::format(now_ms),
        expires_at: expires_at_ms.map(time::format),
        revoked_at: None,
        last_used_at: None,
    };
    Ok(Record { shown, digest, expires_at_ms, last_used_at_ms: Cell::new(None), parent: maker.key.clone() })
}

/// A key's name, without the white space around it.
pub fn name(text: &str) -> Result<String, Error> {
    let text = text.trim();
    let valid = (1..=MAX_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    valid.then(|| text.to_owned()).ok_or_else(|| invalid_field("name", "1 to 100 characters, none of them a control character"))
}

fn tenant(request: &CreateKey, maker: &Principal) -> Result<Tenant, Error> {
    match &request.tenant {
        Some(tenant) if maker.operator || *tenant == maker.tenant => Ok(tenant.clone()),
        Some(_) => Err(Error::new(Code::Forbidden, "only the operator makes keys for other tenants")),
        None => Ok(maker.tenant.clone()),
    }
}

fn end(request: &CreateKey, maker: &Principal, now_ms: u64) -> Result<Option<u64>, Error> {
    let asked = match (&request.expires_at, request.expires_in_ms) {
        (Some(_), Some(_)) => return Err(excluded_field("expires_in_ms", "cannot be combined with `expires_at`")),
        (Some(text), None) => Some(time::parse("expires_at", text)?),
        (None, Some(span)) => Some(now_ms.saturating_add(span)),
        (None, None) => None,
    };
    match (asked, maker.expires_at_ms) {
        (Some(end), _) if end <= now_ms || end > time::END_MS => {
            let field = if request.expires_at.is_some() { "expires_at" } else { "expires_in_ms" };
            Err(invalid_field(field, "an end in the future, and before the year 10000"))
        }
        (Some(end), Some(latest)) if end > latest => {
            Err(Error::new(Code::Forbidden, format!("your own credentials end at {}", time::format(latest))))
        }
        (asked, latest) => Ok(asked.or(latest)),
    }
}

#[cfg(test)]
mod tests {
    use cabana::Scopes;
    use serde_json::{Value, json};

    use super::*;
    use crate::key::generate;

    const NOW: u64 = 1_000;

    fn maker(scopes: Value, expires_at_ms: Option<u64>) -> Principal {
        let scopes: Scopes = serde_json::from_value(scopes).unwrap();
        let (id, tenant) = ("key:a".to_owned(), "a".parse().unwrap());
        Principal { id, tenant, operator: false, scopes, expires_at_ms, ..Principal::operator() }
    }

    fn planned(request: Value, maker: &Principal) -> Result<Key, Code> {
        let (id, _, digest) = generate(None);
        let request = serde_json::from_value(request).unwrap();
        plan(&request, maker, NOW, id, digest).map(|record| record.shown).map_err(|error| error.code)
    }

    #[test]
    fn the_operators_keys() {
        let key = planned(json!({ "name": " ci \n" }), &Principal::operator()).unwrap();
        assert_eq!((key.name.as_str(), key.tenant.as_str(), key.expires_at), ("ci", "default", None));
        assert_eq!((key.scopes, key.created_by.as_str()), (Scopes::default(), "operator"));
        let request = json!({ "name": "b", "tenant": "b", "scopes": { "operations": ["key"] }, "expires_in_ms": 500 });
        let key = planned(request, &Principal::operator()).unwrap();
        assert_eq!((key.tenant.as_str(), key.expires_at.as_deref()), ("b", Some("1970-01-01T00:00:01.500Z")));
    }

    #[test]
    fn a_tenants_keys_are_no_more_than_their_maker() {
        let keys = maker(json!({ "operations": ["key", "file"] }), Some(5_000));
        let key = planned(json!({ "name": "c" }), &keys).unwrap();
        assert_eq!((key.tenant, key.scopes), (keys.tenant.clone(), keys.scopes.clone()));
        assert_eq!(key.expires_at.as_deref(), Some("1970-01-01T00:00:05.000Z"), "it ends with its maker");
        for (request, expected) in [
            (json!({ "name": "c", "tenant": "a" }), Ok(())),
            (json!({ "name": "c", "tenant": "b" }), Err(Code::Forbidden)),
            (json!({ "name": "c", "tenant": "default" }), Err(Code::Forbidden)),
            (json!({ "name": "c", "scopes": { "operations": ["file.read"] } }), Ok(())),
            (json!({ "name": "c", "scopes": {} }), Err(Code::Forbidden)),
            (json!({ "name": "c", "scopes": { "operations": ["file", "exec"] } }), Err(Code::Forbidden)),
            (json!({ "name": "c", "expires_in_ms": 4_000 }), Ok(())),
            (json!({ "name": "c", "expires_in_ms": 4_001 }), Err(Code::Forbidden)),
            (json!({ "name": "c", "expires_at": "1970-01-01T00:00:05Z" }), Ok(())),
            (json!({ "name": "c", "expires_at": "1970-01-01T00:00:05.001Z" }), Err(Code::Forbidden)),
        ] {
            assert_eq!(planned(request.clone(), &keys).map(drop), expected, "{request}");
        }
    }

    #[test]
    fn what_no_key_can_be() {
        for request in [
            json!({}),
            json!({ "name": "  " }),
            json!({ "name": "a\u{0}b" }),
            json!({ "name": "a".repeat(101) }),
            json!({ "name": "a", "expires_in_ms": 0 }),
            json!({ "name": "a", "expires_in_ms": u64::MAX }),
            json!({ "name": "a", "expires_at": "1970-01-01T00:00:01Z" }),
            json!({ "name": "a", "expires_at": "tomorrow" }),
            json!({ "name": "a", "expires_at": "2026-01-01T00:00:00Z", "expires_in_ms": 1 }),
            json!({ "name": "a", "scopes": { "operations": ["file.*"] } }),
        ] {
            assert_eq!(planned(request.clone(), &Principal::operator()), Err(Code::InvalidRequest), "{request}");
        }
    }
}
