//! Who may call, as the Worker's variables say. Pure but for [`Authority::of`].

use std::{cell::OnceCell, fmt, rc::Rc};

use cabana::{Code, Error, variable};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use worker::{Context, Env};

use super::{
    connect::Signer,
    issuer,
    jwks::KeySet,
    jwt::{self, Verifier},
};

/// The secret of the Worker that holds the operator's key.
pub const KEY_VARIABLE: &str = "CABANA_API_KEY";
/// The secret that signs connect tokens; the operator's key where it is not set.
pub const TOKEN_VARIABLE: &str = "CABANA_TOKEN_SECRET";
/// The secret with which an issuer signs JWTs by HS256.
pub const JWT_SECRET_VARIABLE: &str = "CABANA_JWT_SECRET";
/// An issuer's public keys, as a JWKS.
pub const JWKS_VARIABLE: &str = "CABANA_JWT_JWKS";
/// Where an issuer publishes them.
pub const JWKS_URL_VARIABLE: &str = "CABANA_JWT_JWKS_URL";
/// Who may have issued a JWT: names, separated by commas.
pub const ISSUER_VARIABLE: &str = "CABANA_JWT_ISSUER";
/// For whom JWTs are: names, separated by commas, one of which a token must have.
pub const AUDIENCE_VARIABLE: &str = "CABANA_JWT_AUDIENCE";

/// What is trusted. Holds the digest of the operator's key and not the key.
pub struct Authority {
    operator: Option<[u8; 32]>,
    signer: Option<Signer>,
    trust: Option<Trust>,
}

/// Which JWTs are trusted.
pub struct Trust {
    /// What they must be.
    pub verifier: Verifier,
    source: Source,
}

/// Where an issuer's public keys come from.
enum Source {
    /// A variable. Empty where the issuer has a secret instead.
    Set(Rc<KeySet>),
    /// This URL.
    Url(String),
}

thread_local! {
    /// Variables do not change while an isolate lives.
    static AUTHORITY: OnceCell<Result<Rc<Authority>, Error>> = const { OnceCell::new() };
}

impl Authority {
    /// What the Worker's variables say.
    ///
    /// Fails with `unavailable` where they let nobody in, or make no sense: nothing configured means nothing open.
    pub fn of(env: &Env) -> Result<Rc<Self>, Error> {
        AUTHORITY.with(|authority| authority.get_or_init(|| Self::read(|name| variable(env, name)).map(Rc::new)).clone())
    }

    /// A variable that is empty is not set.
    fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let key = lookup(KEY_VARIABLE);
        let trust = Trust::read(&lookup)?;
        if key.is_none() && trust.is_none() {
            return Err(misconfigured(&format!("nobody may call: set the Worker's secret {KEY_VARIABLE}")));
        }
        let signer = lookup(TOKEN_VARIABLE).or_else(|| key.clone()).map(|secret| Signer::new(&secret));
        Ok(Self { operator: key.map(|key| digest(&key)), signer, trust })
    }

    /// Whether this is the operator's key.
    pub fn is_operator(&self, token: &str) -> bool {
        // Digests have one length and nothing in common with each other, so that the time the comparison takes says nothing.
        self.operator.is_some_and(|operator| digest(token).ct_eq(&operator).into())
    }

    /// What signs connect tokens. Fails with `not_implemented` where there is nothing to sign them with.
    pub fn signer(&self) -> Result<&Signer, Error> {
        let missing = || Error::new(Code::NotImplemented, format!("connect tokens need the Worker's secret {TOKEN_VARIABLE}"));
        self.signer.as_ref().ok_or_else(missing)
    }

    /// Which JWTs are trusted, if any.
    pub fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }
}

impl Trust {
    fn read(lookup: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let secret = lookup(JWT_SECRET_VARIABLE);
        if secret.as_ref().is_some_and(|secret| secret.len() < jwt::MIN_SECRET) {
            return Err(misconfigured(&format!("{JWT_SECRET_VARIABLE} must have at least {} bytes", jwt::MIN_SECRET)));
        }
        let source = match (lookup(JWKS_VARIABLE), lookup(JWKS_URL_VARIABLE)) {
            (Some(_), Some(_)) => {
                return Err(misconfigured(&format!("{JWKS_VARIABLE} and {JWKS_URL_VARIABLE} exclude each other")));
            }
            (Some(json), None) => Source::Set(Rc::new(key_set(&json)?)),
            (None, Some(url)) => Source::Url(url),
            (None, None) if secret.is_none() => return Ok(None),
            (None, None) => Source::Set(Rc::default()),
        };
        let verifier = Verifier::new(secret.as_deref(), names(lookup(ISSUER_VARIABLE)), names(lookup(AUDIENCE_VARIABLE)));
        Ok(Some(Self { verifier, source }))
    }

    /// The issuer's public keys; with `unknown`, newer ones than those that did not do, if there are any.
    ///
    /// Fails with `unavailable`.
    pub async fn keys(&self, context: &Context, unknown: bool) -> Result<Rc<KeySet>, Error> {
        match &self.source {
            Source::Set(keys) => Ok(Rc::clone(keys)),
            Source::Url(url) => issuer::keys(url, context, unknown).await,
        }
    }
}

fn key_set(json: &str) -> Result<KeySet, Error> {
    let keys = KeySet::parse(json.as_bytes());
    let keys = keys.map_err(|error| misconfigured(&format!("{JWKS_VARIABLE} cannot be used: {}", error.message)))?;
    if keys.is_empty() {
        return Err(misconfigured(&format!("{JWKS_VARIABLE} has no key that verifies RS256, ES256 or EdDSA")));
    }
    Ok(keys)
}

fn names(list: Option<String>) -> Vec<String> {
    let list = list.unwrap_or_default();
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// Repeating does not help until somebody has set the Worker's variables right.
fn misconfigured(message: &str) -> Error {
    Error { retryable: false, ..Error::new(Code::Unavailable, message) }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Authority, Error> {
        Authority::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_operators_key_and_no_other() {
        let authority = read(&[(KEY_VARIABLE, "k-1")]).unwrap();
        assert!(authority.is_operator("k-1"));
        for other in ["", "k", "k-", "k-12", "k-1 ", " k-1", "K-1", "k-2", "k\u{2010}1", "k-1\0", "k-1k-1"] {
            assert!(!authority.is_operator(other), "{other}");
        }
    }

    #[test]
    fn nothing_configured_means_nothing_open() {
        for variables in [&[][..], &[(KEY_VARIABLE, "")]] {
            let error = read(variables).unwrap_err();
            assert_eq!((error.code, error.retryable), (Code::Unavailable, false));
            assert!(error.message.contains(KEY_VARIABLE));
        }
    }

    #[test]
    fn what_makes_no_sense_opens_nothing() {
        for (name, value) in [
            (JWT_SECRET_VARIABLE, "short"),
            (JWKS_VARIABLE, "nonsense"),
            (JWKS_VARIABLE, r#"{"keys":[]}"#),
            (JWKS_VARIABLE, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#),
        ] {
            let error = read(&[(KEY_VARIABLE, "k-1"), (name, value)]).unwrap_err();
            assert!(error.code == Code::Unavailable && error.message.contains(name) && !error.message.contains(value), "{error}");
        }
        assert!(read(&[(JWKS_VARIABLE, "{}"), (JWKS_URL_VARIABLE, "https://a")]).is_err());
    }

    #[test]
    fn an_issuer_does_without_the_operator() {
        let secret = "s".repeat(jwt::MIN_SECRET);
        let authority = read(&[(JWT_SECRET_VARIABLE, &secret)]).unwrap();
        assert!(authority.trust().is_some() && !authority.is_operator("") && authority.signer().is_err());
        assert!(read(&[(JWT_SECRET_VARIABLE, &secret), (TOKEN_VARIABLE, "t")]).unwrap().signer().is_ok());
        assert!(read(&[(JWKS_URL_VARIABLE, "https://issuer/keys")]).unwrap().trust().is_some());
        assert!(read(&[(ISSUER_VARIABLE, "a"), (TOKEN_VARIABLE, "t")]).is_err(), "nobody could call");
        assert_eq!(names(Some(" a, b,,".to_owned())), ["a", "b"]);
    }

    #[test]
    fn nothing_of_it_shows() {
        assert_eq!(format!("{:?}", read(&[(KEY_VARIABLE, "k-1")]).unwrap()), "Authority { .. }");
    }
}
