//! Who is calling? One key for the whole deployment, for now. Pure but for [`Credentials::of`] and [`Config::read`].
//!
//! This is the seam for what comes later (keys per tenant, JWTs): [`authenticate`] turns what a request brings into a
//! [`Principal`], and nothing else in the gateway looks at credentials.

use std::fmt;

use cabana::{Code, Error, Principal, token, variable};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use worker::{Env, Request};

/// The variable or secret of the Worker that holds the API key.
pub const KEY_VARIABLE: &str = "CABANA_API_KEY";

/// What a request brings to prove who its caller is. It has no `Debug`.
#[allow(missing_debug_implementations)]
pub struct Credentials {
    /// The tokens found, wherever they were.
    tokens: Vec<String>,
}

/// Who may call. Holds the digest of the key and not the key.
pub struct Config {
    key: Option<[u8; 32]>,
}

/// Tells who is calling.
///
/// A request brings exactly one token. Fails with `unauthorized`, also where no key is configured.
pub fn authenticate(credentials: &Credentials, config: &Config) -> Result<Principal, Error> {
    let Some(key) = &config.key else {
        return Err(unauthorized(&format!("no API key is configured: set the Worker's secret {KEY_VARIABLE}")));
    };
    match credentials.tokens.as_slice() {
        [] => Err(unauthorized("no API key: send it as `Authorization: Bearer <key>`")),
        // Digests have one length and nothing in common with each other, so that the time the comparison takes says nothing.
        [token] if bool::from(digest(token).ct_eq(key)) => Ok(Principal::operator()),
        [_] => Err(unauthorized("the API key is not valid")),
        _ => Err(unauthorized("more than one API key: send one, in one place")),
    }
}

/// Tells whose a token is that came neither in a header nor on a WebSocket: a preview's visitor brings it.
pub fn authenticate_token(token: &str, env: &Env) -> Result<Principal, Error> {
    authenticate(&Credentials { tokens: vec![token.to_owned()] }, &Config::read(env))
}

impl Credentials {
    /// The credentials of a request.
    ///
    /// Fails with `unauthorized` where its `Authorization` is not one `Bearer` token.
    pub fn of(request: &Request) -> Result<Self, Error> {
        let header = |name: &str| request.headers().get(name).ok().flatten();
        let upgrade = header("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
        let url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
        let query = url.query().filter(|_| upgrade);
        let subprotocols = header(token::SUBPROTOCOL_HEADER).filter(|_| upgrade);
        Self::gather(header("authorization").as_deref(), query, subprotocols.as_deref())
    }

    /// Several `Authorization` headers arrive as one, joined by commas, and make no token.
    fn gather(authorization: Option<&str>, query: Option<&str>, subprotocols: Option<&str>) -> Result<Self, Error> {
        let mut tokens = Vec::new();
        if let Some(authorization) = authorization {
            tokens.push(bearer(authorization)?.to_owned());
        }
        tokens.extend(query.map(token::in_query).unwrap_or_default());
        tokens.extend(subprotocols.map(token::in_subprotocols).unwrap_or_default().into_iter().map(str::to_owned));
        Ok(Self { tokens })
    }
}

impl Config {
    /// Reads the key from [`KEY_VARIABLE`].
    pub fn read(env: &Env) -> Self {
        Self::new(variable(env, KEY_VARIABLE).as_deref())
    }

    /// An empty key is no key.
    fn new(key: Option<&str>) -> Self {
        Self { key: key.filter(|key| !key.is_empty()).map(digest) }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Config").field("key", &self.key.map(|_| "…")).finish()
    }
}

fn bearer(authorization: &str) -> Result<&str, Error> {
    let (scheme, token) = authorization.trim().split_once(' ').unwrap_or_default();
    let token = token.trim_start_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains([' ', ',', '\t']) {
        return Err(unauthorized("Authorization must be one `Bearer <key>`"));
    }
    Ok(token)
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn unauthorized(message: &str) -> Error {
    Error::new(Code::Unauthorized, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(authorization: Option<&str>, query: Option<&str>, subprotocols: Option<&str>) -> Result<Principal, Code> {
        Credentials::gather(authorization, query, subprotocols)
            .and_then(|credentials| authenticate(&credentials, &Config::new(Some("k-1"))))
            .map_err(|error| error.code)
    }

    #[test]
    fn the_key_in_each_place() {
        for authorization in ["Bearer k-1", "bearer k-1", "BEARER  k-1", " Bearer k-1 "] {
            assert_eq!(check(Some(authorization), None, None), Ok(Principal::operator()), "{authorization}");
        }
        assert_eq!(check(None, Some("a=b&token=k-1"), None), Ok(Principal::operator()));
        assert_eq!(check(None, Some("token=k%2D1"), None), Ok(Principal::operator()));
        assert_eq!(check(None, None, Some("chat, cabana.token.k-1")), Ok(Principal::operator()));
    }

    #[test]
    fn what_is_refused() {
        let authorizations = [
            "",
            "Bearer",
            "Bearer ",
            "k-1",
            "Basic k-1",
            "Bearer k-2",
            "Bearer k-1 k-1",
            "Bearer k-1, Bearer k-1",
            "Bearer K-1",
            "Bearer k-",
        ];
        for authorization in authorizations {
            assert_eq!(check(Some(authorization), None, None), Err(Code::Unauthorized), "{authorization}");
        }
        assert_eq!(check(None, None, None), Err(Code::Unauthorized));
        assert_eq!(check(None, Some("token="), None), Err(Code::Unauthorized));
        assert_eq!(check(None, Some("Token=k-1"), None), Err(Code::Unauthorized));
        assert_eq!(check(None, None, Some("cabana.token.")), Err(Code::Unauthorized));
    }

    #[test]
    fn one_token_in_one_place() {
        assert_eq!(check(Some("Bearer k-1"), Some("token=k-1"), None), Err(Code::Unauthorized));
        assert_eq!(check(None, Some("token=k-1&token=k-1"), None), Err(Code::Unauthorized));
        assert_eq!(check(None, Some("token=k-1"), Some("cabana.token.k-1")), Err(Code::Unauthorized));
    }

    #[test]
    fn without_a_key_everyone_is_refused_and_told_why() {
        for key in [None, Some("")] {
            for token in ["", "k-1"] {
                let credentials = Credentials { tokens: vec![token.to_owned()] };
                let error = authenticate(&credentials, &Config::new(key)).unwrap_err();
                assert!(error.code == Code::Unauthorized && error.message.contains(KEY_VARIABLE));
            }
        }
    }

    #[test]
    fn the_key_shows_nowhere() {
        assert_eq!(format!("{:?}", Config::new(Some("k-1"))), r#"Config { key: Some("…") }"#);
    }
}
