//! Who may call, as the Worker's variables say. Pure but for [`Authority::of`].

use std::{cell::OnceCell, fmt, rc::Rc};

use cabana::{Code, variable};
use cabana_protocol::Error;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use worker::{Context, Env};

use super::{connect::Signer, issuer, jwks::KeySet, jwt::Verifier, link};
use crate::key::tag::Tagger;

/// The secret of the Worker that holds the operator's key: at least 32 bytes.
pub const KEY_VARIABLE: &str = "CABANA_API_KEY";
/// The secret that signs connect tokens and links, of at least 32 bytes; the operator's key where it is not set.
pub const TOKEN_VARIABLE: &str = "CABANA_TOKEN_SECRET";
/// The secret with which an issuer signs JWTs by HS256.
pub const JWT_SECRET_VARIABLE: &str = "CABANA_JWT_SECRET";
/// An issuer's public keys, as a JWKS.
pub const JWKS_VARIABLE: &str = "CABANA_JWT_JWKS";
/// Where an issuer publishes them.
pub const JWKS_URL_VARIABLE: &str = "CABANA_JWT_JWKS_URL";
/// How long after one fetch of them the next may come, in milliseconds [default: 60,000].
pub const JWKS_PAUSE_VARIABLE: &str = "CABANA_JWT_JWKS_PAUSE_MS";
/// Who may have issued a JWT: names, separated by commas.
pub const ISSUER_VARIABLE: &str = "CABANA_JWT_ISSUER";
/// For whom JWTs are: names, separated by commas, one of which a token must have.
pub const AUDIENCE_VARIABLE: &str = "CABANA_JWT_AUDIENCE";

/// Shortest secret, in bytes. Connect tokens are signed with what is derived from a secret, so that whoever holds a token can test
/// guesses of a short one without asking us.
const MIN_SECRET: usize = 32;

/// What is trusted. Holds the digest of the operator's key and not the key.
pub struct Authority {
    operator: Option<[u8; 32]>,
    signer: Option<Signer>,
    link_signer: Option<link::Signer>,
    tagger: Option<Tagger>,
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
    Url { url: String, pause_ms: u64 },
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
        let key = secret(&lookup, KEY_VARIABLE)?;
        let trust = Trust::read(&lookup)?;
        if key.is_none() && trust.is_none() {
            return Err(misconfigured(&format!("nobody may call: set the Worker's secret {KEY_VARIABLE}")));
        }
        let own = secret(&lookup, TOKEN_VARIABLE)?.or_else(|| key.clone());
        let (signer, tagger) = (own.as_deref().map(Signer::new), own.as_deref().map(Tagger::new));
        let link_signer = own.as_deref().map(link::Signer::new);
        Ok(Self { operator: key.map(|key| digest(&key)), signer, link_signer, tagger, trust })
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

    /// What signs links to files. Fails with `not_implemented` where there is nothing to sign them with.
    pub fn link_signer(&self) -> Result<&link::Signer, Error> {
        let missing = || Error::new(Code::NotImplemented, format!("links need the Worker's secret {TOKEN_VARIABLE}"));
        self.link_signer.as_ref().ok_or_else(missing)
    }

    /// What tags the ids of keys; `None` where there is no secret to do it with.
    pub fn tagger(&self) -> Option<&Tagger> {
        self.tagger.as_ref()
    }

    /// Which JWTs are trusted, if any.
    pub fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }
}

impl Trust {
    fn read(lookup: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let secret = secret(lookup, JWT_SECRET_VARIABLE)?;
        let source = match (lookup(JWKS_VARIABLE), lookup(JWKS_URL_VARIABLE)) {
            (Some(_), Some(_)) => {
                return Err(misconfigured(&format!("{JWKS_VARIABLE} and {JWKS_URL_VARIABLE} exclude each other")));
            }
            (Some(json), None) => Source::Set(Rc::new(key_set(&json)?)),
            (None, Some(url)) => Source::Url { url, pause_ms: pause(lookup)? },
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
            Source::Url { url, pause_ms } => issuer::keys(url, *pause_ms, context, unknown).await,
        }
    }
}

/// A secret that is too long to be guessed. Fails with `unavailable` where it is not.
fn secret(lookup: &impl Fn(&str) -> Option<String>, name: &str) -> Result<Option<String>, Error> {
    match lookup(name) {
        Some(secret) if secret.len() < MIN_SECRET => {
            let message =
                format!("the Worker's secret {name} must have at least {MIN_SECRET} bytes: set one from `openssl rand -hex 32`");
            Err(misconfigured(&message))
        }
        secret => Ok(secret),
    }
}

/// How long after one fetch of the key set the next may come.
fn pause(lookup: &impl Fn(&str) -> Option<String>) -> Result<u64, Error> {
    let Some(text) = lookup(JWKS_PAUSE_VARIABLE) else { return Ok(issuer::PAUSE_MS) };
    text.trim()
        .parse()
        .map_err(|_| misconfigured(&format!("the Worker's variable {JWKS_PAUSE_VARIABLE} must be a number of milliseconds")))
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

    const KEY: &str = "k-1-0123456789abcdef0123456789abcdef";

    fn read(variables: &[(&str, &str)]) -> Result<Authority, Error> {
        Authority::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_operators_key_and_no_other() {
        let authority = read(&[(KEY_VARIABLE, KEY)]).unwrap();
        assert!(authority.is_operator(KEY));
        let (upper, hyphen) = (KEY.to_uppercase(), KEY.replacen('-', "\u{2010}", 1));
        let variants = [
            &KEY[1..],
            &KEY[..35],
            &upper,
            &hyphen,
            &format!("{KEY} "),
            &format!(" {KEY}"),
            &format!("{KEY}\0"),
            &KEY.repeat(2),
            "",
        ];
        for other in variants {
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
    fn secrets_that_can_be_guessed_open_nothing() {
        let (short, long) = ("s".repeat(MIN_SECRET - 1), "s".repeat(MIN_SECRET));
        for name in [KEY_VARIABLE, TOKEN_VARIABLE, JWT_SECRET_VARIABLE] {
            let error = read(&[(KEY_VARIABLE, KEY), (name, &short)].into_iter().rev().collect::<Vec<_>>()).unwrap_err();
            assert_eq!((error.code, error.retryable), (Code::Unavailable, false), "{name}");
            assert!(error.message.contains(name) && error.message.contains("32") && !error.message.contains(&short), "{error}");
            assert!(read(&[(name, &long), (KEY_VARIABLE, KEY)]).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_makes_no_sense_opens_nothing() {
        for (name, value) in [
            (JWKS_VARIABLE, "nonsense"),
            (JWKS_VARIABLE, r#"{"keys":[]}"#),
            (JWKS_VARIABLE, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#),
        ] {
            let error = read(&[(KEY_VARIABLE, KEY), (name, value)]).unwrap_err();
            assert!(error.code == Code::Unavailable && error.message.contains(name) && !error.message.contains(value), "{error}");
        }
        assert!(read(&[(JWKS_VARIABLE, "{}"), (JWKS_URL_VARIABLE, "https://a")]).is_err());
        let error = read(&[(JWKS_URL_VARIABLE, "https://a"), (JWKS_PAUSE_VARIABLE, "1 min")]).unwrap_err();
        assert!(error.message.contains(JWKS_PAUSE_VARIABLE), "{error}");
    }

    #[test]
    fn an_issuer_does_without_the_operator() {
        let secret = "s".repeat(MIN_SECRET);
        let authority = read(&[(JWT_SECRET_VARIABLE, &secret)]).unwrap();
        assert!(authority.trust().is_some() && !authority.is_operator("") && authority.signer().is_err());
        assert!(read(&[(JWT_SECRET_VARIABLE, &secret), (TOKEN_VARIABLE, KEY)]).unwrap().signer().is_ok());
        assert!(read(&[(JWKS_URL_VARIABLE, "https://issuer/keys")]).unwrap().trust().is_some());
        assert!(read(&[(ISSUER_VARIABLE, "a"), (TOKEN_VARIABLE, KEY)]).is_err(), "nobody could call");
        assert_eq!(names(Some(" a, b,,".to_owned())), ["a", "b"]);
    }

    #[test]
    fn nothing_of_it_shows() {
        assert_eq!(format!("{:?}", read(&[(KEY_VARIABLE, KEY)]).unwrap()), "Authority { .. }");
    }
}
