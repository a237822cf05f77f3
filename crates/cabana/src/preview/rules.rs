//! What passes between a visitor and the program that he visits, header by header. Pure.

use super::Domain;

/// The cookie in which a browser keeps the token that opened a private preview. Browsers send one of this prefix to the very host that
/// has set it, and let no other set it.
pub(super) const COOKIE: &str = "__Host-cabana-preview";

/// Cookies that are credentials of a visitor: ours, and Cloudflare Access's.
const CREDENTIAL_COOKIES: [&str; 2] = [COOKIE, "CF_Authorization"];

/// Prefixes of request headers that only we set, or that are a visitor's credentials.
const KEPT_PREFIXES: [&str; 3] = ["x-cabana-", "x-forwarded-", "cf-access-"];

/// Request headers that say where a request comes from, or are between the visitor and the runtime.
const KEPT: [&str; 4] = ["forwarded", "x-real-ip", "proxy-authorization", "expect"];

/// Whether a request header, in lower case, is kept from the program: whatever it said, the visitor has said it, or nobody should.
pub(super) fn is_kept_back(name: &str) -> bool {
    KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The value of our cookie.
pub(super) fn own_cookie(cookies: &str) -> Option<&str> {
    let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// The cookies without credentials, as they came; `None` where nothing is left.
pub(super) fn strip_cookies(cookies: &str) -> Option<String> {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().trim().to_owned();
    let is_ours = |pair: &str| CREDENTIAL_COOKIES.iter().any(|ours| name(pair).eq_ignore_ascii_case(ours));
    if !cookies.split(';').any(is_ours) {
        return Some(cookies.to_owned());
    }
    let left: Vec<_> = cookies.split(';').filter(|pair| !is_ours(pair) && !pair.trim().is_empty()).map(str::trim).collect();
    (!left.is_empty()).then(|| left.join("; "))
}

/// A `Set-Cookie` of the program, which stays as it is, save that it sets nothing for other previews: a domain that they share is left
/// out, and the cookie is for this host alone. `None`: it would set our own cookie.
pub(super) fn confine(set_cookie: &str, domain: Option<&Domain>) -> Option<String> {
    let (pair, attributes) = set_cookie.split_once(';').unwrap_or((set_cookie, ""));
    let name = pair.split('=').next().unwrap_or_default().trim();
    if name.eq_ignore_ascii_case(COOKIE) {
        return None;
    }
    let is_shared = |attribute: &&str| {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        // What is not plain may be taken for something else by a browser.
        let plain = |value: &str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        let shared = |value: &str| !plain(value) || domain.is_none_or(|domain| domain.is_shared(value));
        name.trim().eq_ignore_ascii_case("domain") && shared(value.trim())
    };
    if !attributes.split(';').any(|attribute| is_shared(&attribute)) {
        return Some(set_cookie.to_owned());
    }
    let left = attributes.split(';').filter(|attribute| !is_shared(attribute));
    Some(std::iter::once(pair).chain(left).collect::<Vec<_>>().join(";"))
}

/// Whether a request that a cookie has let in was made by a page of this very host, where that matters: a page of another preview can
/// cause requests that bring the cookie. It reads no answer, but it could have something done, and it could read a WebSocket.
pub(super) fn is_own(method: &str, upgrades: bool, origin: Option<&str>, own: &str) -> bool {
    match origin {
        Some(origin) => origin == own || !upgrades && is_safe(method),
        None => !upgrades,
    }
}

fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_kept_back() {
        for (name, kept) in [
            ("x-cabana-visit", true),
            ("x-cabana-principal", true),
            ("x-forwarded-for", true),
            ("x-forwarded-anything", true),
            ("forwarded", true),
            ("x-real-ip", true),
            ("expect", true),
            ("proxy-authorization", true),
            ("cf-access-jwt-assertion", true),
            ("authorization", false),
            ("cookie", false),
            ("x-request-id", false),
            ("accept-encoding", false),
            ("range", false),
            ("sec-websocket-protocol", false),
        ] {
            assert_eq!(is_kept_back(name), kept, "{name}");
        }
    }

    #[test]
    fn cookies_pass_but_for_credentials() {
        for (cookies, left, own) in [
            ("a=b", Some("a=b"), None),
            ("a=b;c=\"d\" ;  e", Some("a=b;c=\"d\" ;  e"), None),
            ("__Host-cabana-preview=k", None, Some("k")),
            ("a=b; __Host-cabana-preview=k.l=; c=d", Some("a=b; c=d"), Some("k.l=")),
            ("__host-CABANA-preview=k; a=b", Some("a=b"), None),
            ("CF_Authorization=k; a=b", Some("a=b"), None),
            ("x__Host-cabana-preview=k", Some("x__Host-cabana-preview=k"), None),
            ("", Some(""), None),
        ] {
            assert_eq!((strip_cookies(cookies).as_deref(), own_cookie(cookies)), (left, own), "{cookies}");
        }
    }

    #[test]
    fn set_cookie_reaches_no_sibling() {
        let domain = Domain::parse("p.example.com").unwrap();
        for (set, confined) in [
            ("a=b", Some("a=b")),
            ("a=b; Path=/; HttpOnly;Secure", Some("a=b; Path=/; HttpOnly;Secure")),
            ("a=b; Domain=p.example.com; Path=/", Some("a=b; Path=/")),
            ("a=b; domain = .example.com", Some("a=b")),
            ("a=b;DOMAIN=COM;Secure", Some("a=b;Secure")),
            ("a=b; Domain=3000-sbx-a-k.p.example.com", Some("a=b; Domain=3000-sbx-a-k.p.example.com")),
            ("a=b; Domain=other.com", Some("a=b; Domain=other.com")),
            ("a=b; Domain=\u{ff50}.example.com", Some("a=b")),
            ("a=Domain=example.com", Some("a=Domain=example.com")),
            ("a=b; Domain=", Some("a=b; Domain=")),
            ("__Host-cabana-preview=k; Secure", None),
            (" __host-cabana-preview =k", None),
        ] {
            assert_eq!(confine(set, Some(&domain)).as_deref(), confined, "{set}");
        }
    }

    #[test]
    fn a_cookie_alone_lets_only_the_own_pages_do_things() {
        const OWN: &str = "https://3000-sbx-a-private.p.example.com";
        const OTHER: &str = "https://3000-sbx-b-public.p.example.com";
        for (method, upgrades, origin, own) in [
            ("GET", false, None, true),
            ("GET", false, Some(OTHER), true),
            ("POST", false, None, true),
            ("POST", false, Some(OWN), true),
            ("POST", false, Some(OTHER), false),
            ("DELETE", false, Some("null"), false),
            ("GET", true, Some(OWN), true),
            ("GET", true, Some(OTHER), false),
            ("GET", true, Some("null"), false),
            ("GET", true, None, false),
        ] {
            assert_eq!(is_own(method, upgrades, origin, OWN), own, "{method} {upgrades} {origin:?}");
        }
    }
}
