//! Where a request brings its token. Pure but for [`of`].

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use cabana::{Code, token};
use cabana_protocol::Error;
use worker::{Method, Request};

/// The one token of a request.
///
/// It stands in `Authorization`; for a WebSocket, in the query or among the subprotocols; for server-sent events, in the query, because a
/// browser's `EventSource` sets no headers. Fails with `unauthorized` where there is
/// none, or more than one.
pub fn of(request: &Request) -> Result<String, Error> {
    let header = |name: &str| request.headers().get(name).ok().flatten();
    let upgrade = header("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
    let url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
    let authorization = header("authorization");
    let events = authorization.is_none()
        && request.method() == Method::Get
        && header("accept").is_some_and(|accept| accept.contains("text/event-stream"));
    let query =
        url.query().filter(|_| upgrade || events).filter(|query| !is_programs_own(url.path(), query, authorization.as_deref()));
    let subprotocols = header(token::SUBPROTOCOL_HEADER).filter(|_| upgrade);
    only(gather(authorization.as_deref(), query, subprotocols.as_deref())?)
}

/// Whether the tokens of a query are for the program on the port that the path leads to: the request has a credential besides, and none of
/// them says that it is ours.
fn is_programs_own(path: &str, query: &str, authorization: Option<&str>) -> bool {
    let leads_to_program = path.split_once("/ports/").is_some_and(|(_, rest)| rest.split('/').nth(1) == Some("proxy"));
    authorization.is_some() && leads_to_program && !token::in_query(query).iter().any(|token| token::is_marked(token))
}

/// Several `Authorization` headers arrive as one, joined by commas, and make no token.
fn gather(authorization: Option<&str>, query: Option<&str>, subprotocols: Option<&str>) -> Result<Vec<String>, Error> {
    let mut tokens = Vec::new();
    if let Some(authorization) = authorization {
        tokens.push(bearer(authorization)?.to_owned());
    }
    tokens.extend(query.map(token::in_query).unwrap_or_default());
    tokens.extend(subprotocols.map(token::in_subprotocols).unwrap_or_default().into_iter().map(str::to_owned));
    Ok(tokens)
}

fn only(tokens: Vec<String>) -> Result<String, Error> {
    let mut tokens = tokens.into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(token), None) if !token.is_empty() => Ok(token),
        (Some(_), Some(_)) => Err(unauthorized("more than one credential: send one, in one place")),
        _ => Err(unauthorized("no credential: send an API key or a token as `Authorization: Bearer <key>`")),
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

fn unauthorized(message: &str) -> Error {
    Error::new(Code::Unauthorized, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(authorization: Option<&str>, query: Option<&str>, subprotocols: Option<&str>) -> Result<String, Code> {
        gather(authorization, query, subprotocols).and_then(only).map_err(|error| error.code)
    }

    #[test]
    fn a_token_in_each_place() {
        for authorization in ["Bearer k-1", "bearer k-1", "BEARER  k-1", " Bearer k-1 "] {
            assert_eq!(check(Some(authorization), None, None).as_deref(), Ok("k-1"), "{authorization}");
        }
        assert_eq!(check(None, Some("a=b&token=k-1"), None).as_deref(), Ok("k-1"));
        assert_eq!(check(None, Some("token=k%2D1"), None).as_deref(), Ok("k-1"));
        assert_eq!(check(None, None, Some("chat, cabana.token.k-1")).as_deref(), Ok("k-1"));
    }

    #[test]
    fn what_is_no_token() {
        for authorization in [
            "",
            "Bearer",
            "Bearer ",
            "k-1",
            "Basic k-1",
            "Bearer k-1 k-1",
            "Bearer k-1, Bearer k-1",
            "Bearer\tk-1",
            "Bearer k-1\t2",
        ] {
            assert_eq!(check(Some(authorization), None, None), Err(Code::Unauthorized), "{authorization}");
        }
        for (query, subprotocols) in
            [(None, None), (Some("token="), None), (Some("Token=k-1"), None), (None, Some("cabana.token.")), (None, Some("k-1"))]
        {
            assert_eq!(check(None, query, subprotocols), Err(Code::Unauthorized), "{query:?} {subprotocols:?}");
        }
    }

    #[test]
    fn a_program_may_have_a_token_of_its_own() {
        const PROXY: &str = "/v1/sandboxes/sbx-a/ports/3000/proxy/ws";
        for (path, query, authorization, own) in [
            (PROXY, "token=theirs", Some("Bearer k-1"), true),
            (PROXY, "token=theirs", None, false),
            (PROXY, "token=cab_k_1", Some("Bearer k-1"), false),
            ("/v1/sandboxes/sbx-a/ports/3000", "token=theirs", Some("Bearer k-1"), false),
            ("/v1/sandboxes/sbx-a/connect", "token=theirs", Some("Bearer k-1"), false),
        ] {
            assert_eq!(is_programs_own(path, query, authorization), own, "{path} {query} {authorization:?}");
        }
    }

    #[test]
    fn one_token_in_one_place() {
        assert_eq!(check(Some("Bearer k-1"), Some("token=k-1"), None), Err(Code::Unauthorized));
        assert_eq!(check(None, Some("token=k-1&token=k-1"), None), Err(Code::Unauthorized));
        assert_eq!(check(None, Some("token=k-1"), Some("cabana.token.k-1")), Err(Code::Unauthorized));
        assert_eq!(check(Some("Bearer k-1"), Some("token="), None), Err(Code::Unauthorized));
    }
}
