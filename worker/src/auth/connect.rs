//! Connect tokens: short-lived credentials for one sandbox, signed by the gateway itself. Pure.
//!
//! They are JWTs behind a prefix of their own, signed with a key of their own (`signature.rs`).

use cabana::{Code, KeyId, Principal, SandboxId, Scopes, Tenant};
use cabana_protocol::{Error, names::invalid_field, token::CreateToken};
use serde::{Deserialize, Serialize};

use super::signature::SigningKey;

/// What every connect token starts with.
pub const PREFIX: &str = "cabt_";

/// How long a token is good by default, and at most, in milliseconds.
pub const DEFAULT_LIFE_MS: u64 = 3_600_000;
const MAX_LIFE_MS: u64 = 86_400_000;
const MIN_LIFE_MS: u64 = 1_000;

/// What the signing key is for, so that the secret may be used for other things as well.
const PURPOSE: &[u8] = b"cabana connect token 1";

/// Makes tokens, and knows its own.
pub struct Signer(SigningKey);

/// What a token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// Who made it.
    sub: String,
    tenant: Tenant,
    scopes: Scopes,
    /// The key with which it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
    /// In milliseconds since 1970.
    expires_at_ms: u64,
}

impl Signer {
    /// Signs with what is derived from this secret.
    pub fn new(secret: &str) -> Self {
        Self(SigningKey::derive(secret, PURPOSE))
    }

    /// The token.
    pub fn sign(&self, grant: &Grant) -> Result<String, Error> {
        self.0.sign(grant).map(|token| format!("{PREFIX}{token}"))
    }

    /// What a token without its prefix says, if it is ours.
    pub fn verify(&self, token: &str, now_ms: u64) -> Option<Grant> {
        self.0.verify(token).filter(|grant: &Grant| grant.expires_at_ms > now_ms)
    }
}

impl Grant {
    /// What is asked for, for this sandbox of this tenant.
    ///
    /// Fails with `invalid_request`, and with `forbidden` where it would be more than its maker has.
    pub fn new(request: &CreateToken, id: &SandboxId, tenant: &Tenant, maker: &Principal, now_ms: u64) -> Result<Self, Error> {
        let life = request.expires_in_ms.unwrap_or(DEFAULT_LIFE_MS);
        if !(MIN_LIFE_MS..=MAX_LIFE_MS).contains(&life) {
            return Err(invalid_field("expires_in_ms", &format!("a whole number from {MIN_LIFE_MS} to {MAX_LIFE_MS}")));
        }
        let scopes = Scopes {
            sandboxes: Some(vec![id.as_str().to_owned()]),
            operations: request.operations.clone().or_else(|| maker.scopes.operations.clone()),
            read_only: request.read_only || maker.scopes.read_only,
        };
        scopes.validate()?;
        if !maker.scopes.covers(&scopes) {
            return Err(Error::new(Code::Forbidden, "this token would be good for more than your own credentials are"));
        }
        let end = now_ms + life;
        let expires_at_ms = maker.expires_at_ms.map_or(end, |latest| latest.min(end));
        Ok(Self { sub: maker.id.clone(), tenant: tenant.clone(), scopes, key: maker.key.clone(), expires_at_ms })
    }

    /// When it ends, in milliseconds since 1970.
    pub fn expires_at_ms(&self) -> u64 {
        self.expires_at_ms
    }

    /// The key with which it ends.
    pub fn key(&self) -> Option<&KeyId> {
        self.key.as_ref()
    }

    /// Whom it makes its bearer.
    pub fn principal(self) -> Principal {
        Principal {
            id: format!("{}/token", self.sub),
            tenant: self.tenant,
            operator: false,
            anonymous: false,
            scopes: self.scopes,
            expires_at_ms: Some(self.expires_at_ms),
            key: self.key,
            delegated: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::jwt::Verifier;

    const NOW: u64 = 1_000_000;

    fn maker(scopes: Value) -> Principal {
        let (scopes, tenant) = (serde_json::from_value(scopes).unwrap(), "a".parse().unwrap());
        Principal { id: "key:k".to_owned(), tenant, operator: false, scopes, ..Principal::operator() }
    }

    fn grant(request: Value, maker: &Principal) -> Result<Grant, Code> {
        let request = serde_json::from_value(request).unwrap();
        Grant::new(&request, &"sbx-1".parse().unwrap(), &maker.tenant, maker, NOW).map_err(|error| error.code)
    }

    #[test]
    fn a_token_is_what_it_was_made_for() {
        let signer = Signer::new("secret");
        let maker = Principal { key: "abcdefghijklmnopqrstuvwx27".parse().ok(), ..maker(json!({})) };
        let token = signer.sign(&grant(json!({ "operations": ["file"], "read_only": true }), &maker).unwrap()).unwrap();
        let token = token.strip_prefix(PREFIX).unwrap();
        let principal = signer.verify(token, NOW).unwrap().principal();
        assert_eq!((principal.id.as_str(), &principal.tenant, principal.operator), ("key:k/token", &maker.tenant, false));
        assert_eq!((principal.key, principal.delegated), (maker.key, true));
        let scopes = json!({ "sandboxes": ["sbx-1"], "operations": ["file"], "read_only": true });
        assert_eq!(serde_json::to_value(principal.scopes).unwrap(), scopes);
        let end = NOW + DEFAULT_LIFE_MS;
        assert!(signer.verify(token, end - 1).is_some() && signer.verify(token, end).is_none());
    }

    #[test]
    fn no_token_is_more_than_its_maker() {
        for (scopes, request, expected) in [
            (json!({}), json!({ "expires_in_ms": 999 }), Err(Code::InvalidRequest)),
            (json!({}), json!({ "expires_in_ms": 86_400_001 }), Err(Code::InvalidRequest)),
            (json!({}), json!({ "operations": ["a b"] }), Err(Code::InvalidRequest)),
            (json!({}), json!({ "operations": ["key"] }), Err(Code::Forbidden)),
            (json!({ "operations": ["file.read", "token"] }), json!({ "operations": ["file"] }), Err(Code::Forbidden)),
            (json!({ "operations": ["file", "token"] }), json!({ "operations": ["file.read"] }), Ok(false)),
            (json!({ "read_only": true }), json!({}), Ok(true)),
            (json!({ "sandboxes": ["sbx-*"] }), json!({}), Ok(false)),
            (json!({ "sandboxes": ["sbx-2"] }), json!({}), Err(Code::Forbidden)),
        ] {
            let granted = grant(request.clone(), &maker(scopes.clone())).map(|grant| grant.scopes.read_only);
            assert_eq!(granted, expected, "{scopes} {request}");
        }
        let ends = Principal { expires_at_ms: Some(NOW + 5), ..maker(json!({})) };
        assert_eq!(grant(json!({}), &ends).unwrap().expires_at_ms(), NOW + 5);
        let operator =
            grant(json!({}), &Principal { tenant: "a".parse().unwrap(), ..Principal::operator() }).unwrap().principal();
        assert!(!operator.operator && operator.scopes.sandboxes.is_some());
    }

    #[test]
    fn only_its_own_signature_counts() {
        let signer = Signer::new("secret");
        let grant = grant(json!({}), &maker(json!({}))).unwrap();
        let token = signer.sign(&grant).unwrap()[PREFIX.len()..].to_owned();
        assert!(Signer::new("other").verify(&token, NOW).is_none());
        // The secret itself signs nothing, and no issuer's token is one of ours.
        let signed = |algorithm, key: &[u8]| encode(&Header::new(algorithm), &grant, &EncodingKey::from_secret(key)).unwrap();
        assert!(signer.verify(&signed(Algorithm::HS256, b"secret"), NOW).is_none());
        assert!(signer.verify(&signed(Algorithm::HS512, b"secret"), NOW).is_none());
        let issuer = Verifier::new(Some("secret"), vec![], vec![]);
        assert!(issuer.verify(&token, &Default::default(), NOW).is_err());
        let (message, signature) = token.rsplit_once('.').unwrap();
        for altered in
            [message.to_owned(), format!("{message}."), format!("{message}x.{signature}"), format!("{message}.A{signature}")]
        {
            assert!(signer.verify(&altered, NOW).is_none(), "{altered}");
        }
    }
}
