//! Letting visitors in to a private preview: by the API's credentials, or by a cookie that a browser got for them.

use cabana_protocol::{Code, Error};
use worker::{Headers, Response, ResponseBuilder, Url, url::Position};

use super::rules;
use crate::{Principal, RequestId, reply, token};

/// What a request brings. It has no `Debug`.
pub(super) struct Visitor {
    method: String,
    upgrades: bool,
    /// The host's own origin.
    own: String,
    origin: Option<String>,
    bearer: Option<String>,
    cookie: Option<String>,
    query: Vec<String>,
}

/// Where the credentials were that let a visitor in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// In `Authorization`.
    Authorization,
    /// In our cookie.
    Cookie,
    /// In the query.
    Query(String),
}

impl Visitor {
    pub(super) fn of(method: &str, url: &Url, headers: &Headers) -> Self {
        let header = |name: &str| headers.get(name).ok().flatten();
        Self {
            method: method.to_owned(),
            upgrades: header("upgrade").is_some(),
            own: url.origin().ascii_serialization(),
            origin: header("origin"),
            bearer: header("authorization").as_deref().and_then(bearer),
            cookie: header("cookie").as_deref().and_then(rules::own_cookie).map(str::to_owned),
            query: url.query().map(token::in_query).unwrap_or_default(),
        }
    }

    /// Finds out who it is.
    ///
    /// A program may have an `Authorization` and a `?token=` of its own: those that are not ours are passed over, and reach it. Fails with
    /// `unauthorized`, and with `forbidden` where another page may have made the request of a browser that has been let in.
    pub(super) async fn admit(
        self,
        authenticate: &impl AsyncFn(&str) -> Result<Principal, Error>,
    ) -> Result<(Principal, Proof), Error> {
        for (proof, token) in self.proofs() {
            match authenticate(&token).await {
                Ok(principal) => return self.check(&proof).map(|()| (principal, proof)),
                Err(error) if error.code == Code::Unauthorized => {}
                Err(error) => return Err(error),
            }
        }
        let message =
            "this preview needs the API's credentials: `Authorization: Bearer`, or in a browser `?token=` with a connect token";
        Err(Error::new(Code::Unauthorized, message))
    }

    fn proofs(&self) -> Vec<(Proof, String)> {
        let bearer = self.bearer.iter().map(|token| (Proof::Authorization, token.clone()));
        let cookie = self.cookie.iter().map(|token| (Proof::Cookie, token.clone()));
        // Each costs a look-up.
        let query = self.query.iter().take(2).map(|token| (Proof::Query(token.clone()), token.clone()));
        bearer.chain(cookie).chain(query).collect()
    }

    fn check(&self, proof: &Proof) -> Result<(), Error> {
        if *proof == Proof::Cookie && !rules::is_own(&self.method, self.upgrades, self.origin.as_deref(), &self.own) {
            return Err(Error::new(Code::Forbidden, "a page of another origin has asked for this"));
        }
        Ok(())
    }

    /// Whether the token of the query is to become a cookie: in what a browser's user opens.
    pub(super) fn is_exchanged(method: &str, headers: &Headers) -> bool {
        matches!(method, "GET" | "HEAD") && !headers.has("upgrade").unwrap_or_default()
    }
}

/// Puts the token into a cookie of this host, and sends the browser to the same URL without it.
pub(super) fn exchange(
    url: &Url,
    token: &str,
    principal: &Principal,
    now_ms: u64,
    request_id: &RequestId,
) -> Result<Response, Error> {
    // The whole URL: a path that begins with two slashes would name another host.
    let mut target = url[..Position::AfterPath].to_owned();
    if let Some(query) = url.query().map(token::strip_query).filter(|query| !query.is_empty()) {
        target = format!("{target}?{query}");
    }
    let cookie = cookie(token, principal.expires_at_ms.map(|end| end.saturating_sub(now_ms) / 1_000))?;
    let headers = [
        ("location", target.as_str()),
        ("set-cookie", &cookie),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        (crate::request_id::HEADER, request_id.as_str()),
    ];
    let response = ResponseBuilder::new().with_status(302).empty();
    Ok(headers.into_iter().fold(response, |response, (name, value)| reply::with_header(response, name, value)))
}

fn cookie(token: &str, seconds: Option<u64>) -> Result<String, Error> {
    let plain = token.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte));
    if !plain || token.is_empty() {
        return Err(Error::new(Code::Unauthorized, "a token with such characters cannot be kept in a cookie"));
    }
    let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    // Lax: whoever follows a link to the preview is known there, and no other site's forms or frames are.
    Ok(format!("{}={token}; Path=/; Secure; HttpOnly; SameSite=Lax{age}", rules::COOKIE))
}

/// The token of an `Authorization`, where it is of that kind.
pub(super) fn bearer(authorization: &str) -> Option<String> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(bearer: Option<&str>, cookie: Option<&str>, query: &[&str]) -> Visitor {
        let owned = |text: &str| text.to_owned();
        let (bearer, cookie, query) = (bearer.map(owned), cookie.map(owned), query.iter().copied().map(owned).collect());
        let own = "https://own".to_owned();
        Visitor {
            method: "POST".to_owned(),
            upgrades: false,
            own,
            origin: Some("https://other".to_owned()),
            bearer,
            cookie,
            query,
        }
    }

    fn admit(visitor: Visitor) -> Result<Proof, Code> {
        let authenticate = async |token: &str| match token {
            "good" => Ok(Principal::operator()),
            "busy" => Err(Error::new(Code::TooManyRequests, "")),
            _ => Err(Error::new(Code::Unauthorized, "")),
        };
        let outcome = futures_util::FutureExt::now_or_never(visitor.admit(&authenticate)).unwrap();
        outcome.map(|(_, proof)| proof).map_err(|error| error.code)
    }

    #[test]
    fn who_is_let_in() {
        let query = Ok(Proof::Query("good".to_owned()));
        for (bearer, cookie, tokens, expected) in [
            (None, None, &[][..], Err(Code::Unauthorized)),
            (Some("good"), None, &[], Ok(Proof::Authorization)),
            (Some("bad"), None, &[], Err(Code::Unauthorized)),
            (None, None, &["good"], query.clone()),
            (Some("the program's"), None, &["the program's", "good"], query),
            (None, None, &["a", "b", "good"], Err(Code::Unauthorized)),
            (None, Some("good"), &[], Err(Code::Forbidden)),
            (Some("good"), Some("bad"), &["bad"], Ok(Proof::Authorization)),
            (Some("busy"), Some("good"), &[], Err(Code::TooManyRequests)),
        ] {
            assert_eq!(admit(visitor(bearer, cookie, tokens)), expected, "{bearer:?} {cookie:?} {tokens:?}");
        }
        let own = Visitor { origin: Some("https://own".to_owned()), ..visitor(None, Some("good"), &[]) };
        assert_eq!(admit(own), Ok(Proof::Cookie));
    }

    #[test]
    fn cookies_are_for_one_host() {
        assert_eq!(cookie("a.b-c_=", None).unwrap(), "__Host-cabana-preview=a.b-c_=; Path=/; Secure; HttpOnly; SameSite=Lax");
        assert!(cookie("a", Some(60)).unwrap().ends_with("; Max-Age=60"));
        for token in ["", "a;b", "a b", "a\r\nb", "a\"", "\u{e9}"] {
            assert!(cookie(token, None).is_err(), "{token:?}");
        }
    }

    #[test]
    fn bearers() {
        for (authorization, token) in [
            ("Bearer a", Some("a")),
            ("bearer  a ", Some("a")),
            ("Basic a", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("", None),
        ] {
            assert_eq!(bearer(authorization).as_deref(), token, "{authorization}");
        }
    }
}
