//! Web pages that may use the API from a browser: they open WebSockets, and read answers to their requests ([`Cors`]).
//!
//! A browser sends credentials that a page does not know along with the page's WebSocket, and names the page in `Origin`. So a
//! foreign page could speak for its visitor. A client that sends no `Origin` is not a browser.

mod cors;

use cabana_protocol::{Code, Error};
use worker::{Env, Request, Url};

use crate::variables::variable;

pub use self::cors::Cors;

/// The variable of the Worker that names the pages' origins, separated by commas: `https://app.example, https://other.example`; or `*`
/// for all.
const VARIABLE: &str = "CABANA_ALLOWED_ORIGINS";

/// Where a request's page comes from, if a page sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// No browser sent the request, or a page of this host.
    Own,
    /// A page of this origin, which `CABANA_ALLOWED_ORIGINS` names.
    Allowed(String),
    /// Another page.
    Foreign,
}

impl Page {
    /// The page that a request comes from.
    pub fn of(request: &Request, url: &Url, env: &Env) -> Self {
        // A header that cannot be read is not the absence of one.
        match request.headers().get("origin") {
            Ok(origin) => Self::judge(origin.as_deref(), url, variable(env, VARIABLE).as_deref()),
            Err(_) => Self::Foreign,
        }
    }

    fn judge(origin: Option<&str>, url: &Url, allowed: Option<&str>) -> Self {
        let Some(origin) = origin else { return Self::Own };
        let mut listed = allowed.unwrap_or_default().split(',').map(str::trim).filter(|one| !one.is_empty());
        match () {
            () if is_ours(origin, url) => Self::Own,
            () if listed.any(|one| one == "*" || one.eq_ignore_ascii_case(origin)) => Self::Allowed(origin.to_owned()),
            () => Self::Foreign,
        }
    }

    /// Refuses foreign pages. Fails with `forbidden`.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Own | Self::Allowed(_) => Ok(()),
            Self::Foreign => {
                let message =
                    format!("pages of this origin may not use this API: name the origin in the Worker's variable {VARIABLE}");
                Err(Error::new(Code::Forbidden, message))
            }
        }
    }
}

/// Whether a page comes from the host that is asked. Its scheme does not count: where TLS ends, we may not know.
fn is_ours(origin: &str, url: &Url) -> bool {
    Url::parse(origin)
        .is_ok_and(|origin| origin.host_str().is_some() && origin.host_str() == url.host_str() && port(&origin) == port(url))
}

/// The port, unless it is the one that its scheme has anyway.
fn port(url: &Url) -> Option<u16> {
    url.port().filter(|port| ![80, 443].contains(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let allowed = Some("https://app.example, http://localhost:5173");
        for (origin, url, allowed, expected) in [
            (None, "https://api.example/v1", None, true),
            (Some("https://api.example"), "https://api.example/v1", None, true),
            (Some("https://api.example"), "http://api.example/v1", None, true),
            (Some("http://127.0.0.1:8787"), "http://127.0.0.1:8787/v1", None, true),
            (Some("http://127.0.0.1:8788"), "http://127.0.0.1:8787/v1", None, false),
            (Some("https://app.example"), "https://api.example/v1", None, false),
            (Some("https://app.example"), "https://api.example/v1", allowed, true),
            (Some("HTTPS://App.example"), "https://api.example/v1", allowed, true),
            (Some("http://localhost:5173"), "https://api.example/v1", allowed, true),
            (Some("https://api.example.evil.example"), "https://api.example/v1", allowed, false),
            (Some("https://evil.example"), "https://api.example/v1", Some("*"), true),
            (Some("null"), "https://api.example/v1", allowed, false),
            (Some(""), "https://api.example/v1", allowed, false),
            (Some(""), "https://api.example/v1", Some(""), false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(Page::judge(origin, &url, allowed).check().is_ok(), expected, "{origin:?} {url} {allowed:?}");
        }
    }
}
