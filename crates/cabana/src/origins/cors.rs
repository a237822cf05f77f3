//! Cross-origin requests of the pages that `CABANA_ALLOWED_ORIGINS` names, as the Fetch standard's CORS protocol has them.
//!
//! Pages send their credential in `Authorization`; cookies are never allowed.

use cabana_protocol::Error;
use worker::{Env, Request, Response};

use super::Page;
use crate::{RequestId, reply};

/// Methods of the API.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// Request headers that mean something to the API, beside those that every page may send.
const REQUEST_HEADERS: &str = "accept, authorization, cache-control, content-range, content-type, if-match, if-modified-since, \
    if-none-match, if-range, last-event-id, range, x-cabana-tenant, x-request-id";

/// Answer headers that a page may read, beside those that every page may.
const EXPOSED_HEADERS: &str = "accept-ranges, allow, content-disposition, content-length, content-range, etag, location, retry-after, \
    server-timing, www-authenticate, x-request-id";

/// How long a browser need not ask again, in seconds: the most that browsers keep.
const MAX_AGE: &str = "7200";

/// What one request's answer has to say about cross-origin use.
#[derive(Debug, Clone)]
pub struct Cors {
    page: Page,
    is_preflight: bool,
}

impl Cors {
    /// Reads the request.
    pub fn of(request: &Request, env: &Env) -> Result<Self, Error> {
        let url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
        Ok(Self::new(Page::of(request, &url, env), &request.inner().method(), |name| {
            request.headers().has(name).unwrap_or_default()
        }))
    }

    fn new(page: Page, method: &str, has: impl Fn(&str) -> bool) -> Self {
        Self { page, is_preflight: method == "OPTIONS" && has("origin") && has("access-control-request-method") }
    }

    /// The answer to a preflight: a browser's question whether a page may send its request. `None` for other requests.
    ///
    /// Fails with `forbidden` for pages that are not allowed.
    pub fn preflight(&self, request_id: &RequestId) -> Result<Option<Response>, Error> {
        if !self.is_preflight {
            return Ok(None);
        }
        self.page.check()?;
        let headers = [
            ("access-control-allow-methods", METHODS),
            ("access-control-allow-headers", REQUEST_HEADERS),
            ("access-control-max-age", MAX_AGE),
        ];
        let answer =
            headers.into_iter().fold(reply::empty(request_id), |answer, (name, value)| reply::with_header(answer, name, value));
        Ok(Some(answer))
    }

    /// The answer, which an allowed page may read.
    pub fn allow(&self, answer: Response) -> Response {
        match &self.page {
            // An upgrade is no answer that a page reads.
            Page::Allowed(origin) if answer.status_code() != 101 => {
                let headers = [
                    ("access-control-allow-origin", origin.as_str()),
                    ("access-control-expose-headers", EXPOSED_HEADERS),
                    ("vary", "origin"),
                ];
                headers.into_iter().fold(answer, |answer, (name, value)| reply::with_header(answer, name, value))
            }
            _ => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preflights_are_told_from_other_requests() {
        for (method, headers, expected) in [
            ("OPTIONS", &["origin", "access-control-request-method"][..], true),
            ("OPTIONS", &["origin"], false),
            ("OPTIONS", &["access-control-request-method"], false),
            ("GET", &["origin", "access-control-request-method"], false),
        ] {
            let cors = Cors::new(Page::Own, method, |name| headers.contains(&name));
            assert_eq!(cors.is_preflight, expected, "{method} {headers:?}");
        }
    }
}
