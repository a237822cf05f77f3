//! JWTs of an issuer that the deployment trusts. Pure: keys and time are the caller's.
//!
//! The algorithm belongs to the key, and a token that names another is not that key's. A token's header chooses among trusted keys by
//! its `kid`, and says nothing else that counts: where it brings keys of its own (`jwk`, `jku`, `x5c`, `x5u`), they are not looked at.

use cabana::{Code, Principal, Scopes, Tenant};
use cabana_protocol::Error;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::{Error as JwtError, ErrorKind},
};
use serde::Deserialize;

use super::{
    algorithms,
    jwks::{KeySet, TrustedKey},
};
use crate::time;

/// How far the clocks of issuer and gateway may be apart, in milliseconds.
pub const LEEWAY_MS: u64 = 30_000;
/// Longest token, in bytes.
pub const MAX_LENGTH: usize = 8 << 10;
/// Longest `sub`, in bytes.
const MAX_SUBJECT: usize = 256;

/// What a token must be, whichever key signed it.
pub struct Verifier {
    secret: Option<TrustedKey>,
    issuers: Vec<String>,
    audiences: Vec<String>,
}

/// Why a token is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It names a key that is not trusted, or not known yet.
    UnknownKey,
    /// It is wrong in itself.
    Invalid(&'static str),
}

impl Refusal {
    /// What the caller is told.
    pub fn error(&self) -> Error {
        let why = match self {
            Self::UnknownKey => "no key that is trusted has signed it",
            Self::Invalid(why) => why,
        };
        Error::new(Code::Unauthorized, format!("the token is not valid: {why}"))
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    tenant: Option<String>,
    #[serde(default)]
    scopes: ScopesClaim,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
}

/// Scopes as an issuer writes them.
#[derive(Deserialize)]
#[serde(untagged)]
enum ScopesClaim {
    /// As keys have them.
    Full(Scopes),
    /// Families and operations, separated by spaces; none of them means nothing at all.
    Words(String),
}

impl Default for ScopesClaim {
    fn default() -> Self {
        Self::Full(Scopes::default())
    }
}

impl Verifier {
    /// Tokens of these issuers for these audiences; of any issuer where none is named, and without an audience where none is.
    /// A secret signs with HS256.
    pub fn new(secret: Option<&str>, issuers: Vec<String>, audiences: Vec<String>) -> Self {
        algorithms::provide();
        let secret = secret.map(|secret| TrustedKey {
            id: None,
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(secret.as_bytes()),
        });
        Self { secret, issuers, audiences }
    }

    /// Whom a token makes its bearer.
    pub fn verify(&self, token: &str, keys: &KeySet, now_ms: u64) -> Result<Principal, Refusal> {
        if token.len() > MAX_LENGTH {
            return Err(Refusal::Invalid("it is too long"));
        }
        let header = decode_header(token).map_err(|_| Refusal::Invalid("it is no JWT, or of no algorithm that is known"))?;
        if !claims_are_text(token) {
            return Err(Refusal::Invalid("its claims are not UTF-8"));
        }
        if header.crit.is_some() {
            return Err(Refusal::Invalid("it has critical fields"));
        }
        let trusted = keys.candidates(header.kid.as_deref()).chain(&self.secret);
        // Not yet looked at: keys of another algorithm. Which one that is, only the key says.
        let mut trusted = trusted.filter(|key| key.algorithm == header.alg).peekable();
        if trusted.peek().is_none() {
            return Err(Refusal::UnknownKey);
        }
        let mut refusal = Refusal::UnknownKey;
        for key in trusted {
            match decode::<Claims>(token, &key.key, &self.validation(key.algorithm)) {
                Ok(token) => return admit(token.claims, now_ms),
                Err(error) => refusal = explain(&error),
            }
        }
        Err(refusal)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        // Times are compared in `admit`: nothing here reads a clock.
        validation.validate_exp = false;
        let mut required = vec!["exp", "sub"];
        if !self.issuers.is_empty() {
            validation.set_issuer(&self.issuers);
            required.push("iss");
        }
        if !self.audiences.is_empty() {
            validation.set_audience(&self.audiences);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

/// Whether the claims are UTF-8, as JSON is (RFC 8259, 8.1). The parser does not look at those that mean nothing here.
fn claims_are_text(token: &str) -> bool {
    let claims = token.split('.').nth(1).and_then(|claims| BASE64URL_NOPAD.decode(claims.as_bytes()).ok());
    claims.is_some_and(|claims| std::str::from_utf8(&claims).is_ok())
}

fn admit(claims: Claims, now_ms: u64) -> Result<Principal, Refusal> {
    let milliseconds = |seconds: f64| (seconds * 1e3) as u64;
    let too_early = |instant: Option<f64>| instant.is_some_and(|instant| milliseconds(instant) > now_ms + LEEWAY_MS);
    let end = milliseconds(claims.exp).saturating_add(LEEWAY_MS).min(time::END_MS);
    if end <= now_ms {
        return Err(Refusal::Invalid("it has expired"));
    }
    if too_early(claims.nbf) || too_early(claims.iat) {
        return Err(Refusal::Invalid("its time has not come"));
    }
    if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT {
        return Err(Refusal::Invalid("its `sub` is empty or too long"));
    }
    Ok(Principal {
        id: format!("jwt:{}", claims.sub),
        tenant: tenant(claims.tenant)?,
        operator: false,
        anonymous: false,
        scopes: scopes(claims.scopes)?,
        expires_at_ms: Some(end),
        key: None,
        delegated: false,
    })
}

fn tenant(claim: Option<String>) -> Result<Tenant, Refusal> {
    let claim = claim.ok_or(Refusal::Invalid("it has no claim `tenant`"))?;
    claim.parse().map_err(|_| Refusal::Invalid("its `tenant` is not the name of one"))
}

fn scopes(claim: ScopesClaim) -> Result<Scopes, Refusal> {
    let scopes = match claim {
        ScopesClaim::Full(scopes) => scopes,
        ScopesClaim::Words(words) => {
            Scopes { operations: Some(words.split_whitespace().map(str::to_owned).collect()), ..Scopes::default() }
        }
    };
    scopes.validate().map_err(|_| Refusal::Invalid("its `scopes` are not what they can be"))?;
    Ok(scopes)
}

/// What is wrong with a token, once a trusted key was tried on it. Nothing of its content is repeated.
fn explain(error: &JwtError) -> Refusal {
    Refusal::Invalid(match error.kind() {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidIssuer => "it is of another issuer",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => "it has no claim `exp`",
            "sub" => "it has no claim `sub`",
            "iss" => "it has no claim `iss`",
            _ => "it has no claim `aud`",
        },
        ErrorKind::Json(_) => "its claims are not of the types that they must be: see `sub`, `tenant`, `scopes` and `exp`",
        _ => "it cannot be read",
    })
}

#[cfg(test)]
mod tests;
