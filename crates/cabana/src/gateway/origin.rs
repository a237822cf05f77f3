//! Which web pages may open a socket. Pure.
//!
//! A browser sends credentials that a page does not know along with the page's WebSocket, and names the page in `Origin`. So a
//! page of somebody else's could speak for its visitor. Whoever sends no `Origin` is no browser.

use cabana_protocol::{Code, Error};
use worker::Url;

/// The variable of the Worker that names the pages' origins, separated by commas: `https://app.example, https://other.example`; or `*`
/// for all.
pub(crate) const VARIABLE: &str = "CABANA_ALLOWED_ORIGINS";

/// Lets in our own pages, and those of `allowed`.
///
/// Fails with `forbidden`.
pub(crate) fn check(origin: Option<&str>, url: &Url, allowed: Option<&str>) -> Result<(), Error> {
    let Some(origin) = origin else { return Ok(()) };
    let mut listed = allowed.unwrap_or_default().split(',').map(str::trim).filter(|one| !one.is_empty());
    if is_ours(origin, url) || listed.any(|one| one == "*" || one.eq_ignore_ascii_case(origin)) {
        return Ok(());
    }
    let message = format!("pages of this origin may not open sockets here: name it in the Worker's variable {VARIABLE}");
    Err(Error::new(Code::Forbidden, message))
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
            assert_eq!(check(origin, &url, allowed).is_ok(), expected, "{origin:?} {url} {allowed:?}");
        }
    }
}
