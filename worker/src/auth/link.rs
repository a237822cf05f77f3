//! Links to one file of a sandbox: URLs that are good for one thing, for a while, and need no other credential. Pure.

use cabana::{Access, Code, KeyId, Principal, SandboxId, Scopes, Tenant};
use cabana_protocol::{
    Error,
    names::invalid_field,
    token::{CreateLink, LinkAction},
};
use serde::{Deserialize, Serialize};

use super::signature::SigningKey;

/// The parameter of the query that holds the signature.
pub const PARAMETER: &str = "link";

/// How long a link is good by default, and at most, in milliseconds: an hour and 7 days.
const DEFAULT_LIFE_MS: u64 = 3_600_000;
const MAX_LIFE_MS: u64 = 7 * 24 * 3_600_000;
const MIN_LIFE_MS: u64 = 1_000;

/// What the signing key is for, so that the secret may be used for other things as well.
const PURPOSE: &[u8] = b"cabana file link 1";

/// Signs links, and knows its own.
pub struct Signer(SigningKey);

/// What a link is good for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// Who made it.
    sub: String,
    tenant: Tenant,
    sandbox: SandboxId,
    path: String,
    action: LinkAction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
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

    /// The value of [`PARAMETER`].
    pub fn sign(&self, grant: &Grant) -> Result<String, Error> {
        self.0.sign(grant)
    }

    /// What a link is good for, if it is ours and has not ended.
    pub fn verify(&self, signature: &str, now_ms: u64) -> Option<Grant> {
        self.0.verify(signature).filter(|grant: &Grant| grant.expires_at_ms > now_ms)
    }
}

impl Grant {
    /// What is asked for, of this sandbox of this tenant.
    ///
    /// Fails with `invalid_request`, and with `forbidden` where its maker may not do the same.
    pub fn new(request: CreateLink, id: &SandboxId, tenant: &Tenant, maker: &Principal, now_ms: u64) -> Result<Self, Error> {
        let CreateLink { path, action, max_bytes, expires_in_ms } = request;
        let life = expires_in_ms.unwrap_or(DEFAULT_LIFE_MS);
        if !(MIN_LIFE_MS..=MAX_LIFE_MS).contains(&life) {
            return Err(invalid_field("expires_in_ms", &format!("a whole number from {MIN_LIFE_MS} to {MAX_LIFE_MS}")));
        }
        if path.is_empty() || path.len() > 4_096 || path.contains('\0') {
            return Err(invalid_field("path", "1 to 4,096 bytes, none of them NUL"));
        }
        if max_bytes.is_some() && action == LinkAction::Download {
            return Err(invalid_field("max_bytes", "a size for uploads only"));
        }
        let (operation, read_only) = operation(action);
        maker.check(&Access { sandbox: Some(id), operation, read_only })?;
        let end = now_ms + life;
        let expires_at_ms = maker.expires_at_ms.map_or(end, |latest| latest.min(end));
        let (sub, key) = (maker.id.clone(), maker.key.clone());
        Ok(Self { sub, tenant: tenant.clone(), sandbox: id.clone(), path, action, max_bytes, key, expires_at_ms })
    }

    /// When it ends, in milliseconds since 1970.
    pub fn expires_at_ms(&self) -> u64 {
        self.expires_at_ms
    }

    /// The key with which it ends.
    pub fn key(&self) -> Option<&KeyId> {
        self.key.as_ref()
    }

    /// The largest upload.
    pub fn max_bytes(&self) -> Option<u64> {
        self.max_bytes
    }

    /// Whether it is good for this request. Fails with `forbidden`, naming what it is good for.
    pub fn check(&self, method: &str, sandbox: &SandboxId, path: &str) -> Result<(), Error> {
        let fits = match self.action {
            LinkAction::Download => matches!(method, "GET" | "HEAD"),
            LinkAction::Upload => method == "PUT",
        };
        if fits && *sandbox == self.sandbox && path == self.path {
            return Ok(());
        }
        let action = if self.action == LinkAction::Download { "download" } else { "upload" };
        Err(Error::new(Code::Forbidden, format!("this link is good for the {action} of one file, and nothing else"))
            .because("link"))
    }

    /// Whom it makes its bearer.
    pub fn principal(self) -> Principal {
        let (operation, read_only) = operation(self.action);
        Principal {
            id: format!("{}/link", self.sub),
            tenant: self.tenant,
            operator: false,
            anonymous: false,
            scopes: Scopes {
                sandboxes: Some(vec![self.sandbox.as_str().to_owned()]),
                operations: Some(vec![operation.to_owned()]),
                read_only,
            },
            expires_at_ms: Some(self.expires_at_ms),
            key: self.key,
            delegated: true,
        }
    }
}

fn operation(action: LinkAction) -> (&'static str, bool) {
    match action {
        LinkAction::Download => ("file.read", true),
        LinkAction::Upload => ("file.write", false),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_000_000;

    fn grant(request: Value, scopes: Value) -> Result<Grant, Code> {
        let (scopes, tenant) = (serde_json::from_value(scopes).unwrap(), "a".parse().unwrap());
        let maker = Principal { id: "key:k".to_owned(), tenant, operator: false, scopes, ..Principal::operator() };
        let request = serde_json::from_value(request).unwrap();
        Grant::new(request, &"sbx-1".parse().unwrap(), &maker.tenant, &maker, NOW).map_err(|error| error.code)
    }

    #[test]
    fn a_link_is_good_for_what_it_was_made_for() {
        let signer = Signer::new("secret");
        let made = grant(json!({ "path": "a/b", "action": "upload", "max_bytes": 5 }), json!({})).unwrap();
        let signature = signer.sign(&made).unwrap();
        let grant = signer.verify(&signature, NOW).unwrap();
        assert_eq!(grant.max_bytes(), Some(5));
        let (own, other) = ("sbx-1".parse().unwrap(), "sbx-2".parse().unwrap());
        for (method, sandbox, path, fine) in [
            ("PUT", &own, "a/b", true),
            ("GET", &own, "a/b", false),
            ("DELETE", &own, "a/b", false),
            ("PUT", &other, "a/b", false),
            ("PUT", &own, "a/c", false),
            ("PUT", &own, "./a/b", false),
        ] {
            assert_eq!(grant.check(method, sandbox, path).is_ok(), fine, "{method} {sandbox} {path}");
        }
        let principal = grant.principal();
        assert_eq!((principal.id.as_str(), principal.delegated, principal.operator), ("key:k/link", true, false));
        let scopes = json!({ "sandboxes": ["sbx-1"], "operations": ["file.write"] });
        assert_eq!(serde_json::to_value(principal.scopes).unwrap(), scopes);
        assert!(signer.verify(&signature, NOW + DEFAULT_LIFE_MS).is_none(), "it ends");
        assert!(Signer::new("other").verify(&signature, NOW).is_none());
        let token = super::super::connect::Signer::new("secret");
        assert!(token.verify(&signature, NOW).is_none(), "a link is no connect token");
    }

    #[test]
    fn no_link_is_more_than_its_maker() {
        for (request, scopes, expected) in [
            (json!({ "path": "a", "action": "download" }), json!({ "read_only": true }), Ok(())),
            (json!({ "path": "a", "action": "upload" }), json!({ "read_only": true }), Err(Code::Forbidden)),
            (json!({ "path": "a", "action": "upload" }), json!({ "operations": ["token", "file.read"] }), Err(Code::Forbidden)),
            (json!({ "path": "a", "action": "download" }), json!({ "operations": ["token", "file.read"] }), Ok(())),
            (json!({ "path": "", "action": "download" }), json!({}), Err(Code::InvalidRequest)),
            (json!({ "path": "a", "action": "download", "max_bytes": 1 }), json!({}), Err(Code::InvalidRequest)),
            (json!({ "path": "a", "action": "download", "expires_in_ms": 999 }), json!({}), Err(Code::InvalidRequest)),
        ] {
            assert_eq!(grant(request.clone(), scopes.clone()).map(drop), expected, "{request} {scopes}");
        }
    }
}
