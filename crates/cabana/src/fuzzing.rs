//! What fuzzing calls: each function takes any bytes, and panics where a property does not hold.
//!
//! The targets of `fuzz/` pass them the bytes of libFuzzer; `cargo test` passes them the targets' seeds, and mutations of these.
#![allow(clippy::unwrap_used, reason = "a property that does not hold is reported by a panic")]

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

use cabana_protocol::{Code, SandboxId, table};
use worker::url::form_urlencoded;

use crate::{
    preview::{Host, Hosts, Label},
    route::Route,
    token,
};

/// A function that fuzzing calls.
pub type Target = fn(&[u8]);

/// Each function under the name of its target in `fuzz/fuzz_targets` and of its seeds in `fuzz/seeds`.
pub const TARGETS: [(&str, Target); 4] = [("host", host), ("label", label), ("route", route), ("token", token)];

/// A query, or a list of subprotocols: tokens are found as a browser writes them, and what is forwarded has none and keeps all else.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let pairs = |query: &str| form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>();
    let is_token = |(name, _): &(String, String)| name == token::QUERY_PARAMETER;
    let (tokens, others): (Vec<_>, Vec<_>) = pairs(text).into_iter().partition(is_token);
    let tokens: Vec<_> = tokens.into_iter().map(|(_, token)| token).collect();
    assert_eq!(token::in_query(text), tokens);
    assert_eq!(pairs(&token::strip_query(text)), others);
    let unmarked: Vec<_> = tokens.into_iter().filter(|token| !token::is_marked(token)).collect();
    assert_eq!(token::in_query(&token::strip_marked(text)), unmarked);

    let tokens = token::in_subprotocols(text);
    let left = token::strip_subprotocols(text).unwrap_or_default();
    assert!(token::in_subprotocols(&left).is_empty(), "{left}");
    assert_eq!(token::strip_subprotocols(&left).unwrap_or_default(), left);
    let answer = token::answer_to(text).map(|protocol| protocol.strip_prefix(token::SUBPROTOCOL_PREFIX).unwrap());
    assert_eq!(answer, tokens.first().copied());
}

/// The domain of previews, the hosts of the API, and a host, a line each: a host is a preview's only where it is a label and a dot before
/// the domain, and letter case and a trailing dot change nothing.
pub fn host(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let [domain, api, host] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let Ok(hosts) = Hosts::parse(Some(domain), Some(api)) else { return };
    let found = hosts.find(host);
    assert_eq!(hosts.find(&host.to_ascii_uppercase()), found);
    if !host.trim().ends_with('.') {
        assert_eq!(hosts.find(&format!("{}.", host.trim())), found);
    }
    let name = host.trim().to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let domain = domain.trim().split(':').next().unwrap().trim().to_ascii_lowercase();
    let below = name.strip_suffix(domain.strip_suffix('.').unwrap_or(&domain)).and_then(|label| label.strip_suffix('.'));
    match &found {
        Host::Preview(label) => {
            assert_eq!(below, Some(label.to_string().as_str()));
            let url = hosts.previews().unwrap().url(label);
            // Some domains are valid here and not in a URL, for instance one that ends in a number.
            if let Ok(url) = worker::Url::parse(&url) {
                assert_eq!(hosts.find(url.host_str().unwrap()), found);
            }
        }
        Host::Nobody => assert!(below.is_some()),
        Host::Api | Host::Foreign => {}
    }
    if !host.contains(':') {
        let is_preview = matches!(found, Host::Preview(_) | Host::Nobody);
        assert_eq!(hosts.is_preview_origin(&format!("https://{host}")), is_preview);
    }
}

/// The label of a preview: one that is read is written the same, fits into a host, and its key opens no other access.
pub fn label(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(label) = Label::parse(text) else { return };
    assert_eq!(label.to_string(), text);
    assert!(text.len() <= 63 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
    assert!(label.port.number() > 0 && label.key.opens(&label.key));
    // The word of an access and a token never stand for each other.
    for other in ["public", "private", "abcdefgh"] {
        let other =
            text.rsplit_once('-').and_then(|(before, _)| Label::parse(&format!("{before}-{other}"))).map(|other| other.key);
        assert!(other.is_none_or(|other| other.opens(&label.key) == (other == label.key)));
    }
}

/// A method and a path, a line each: a path is refused with a code, or is about one sandbox, and its rest is the end of the path.
pub fn route(bytes: &[u8]) {
    let Some((method, path)) = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n')) else { return };
    let route = match Route::parse(method, path) {
        Ok(route) => route,
        Err(error) => {
            assert!(matches!(error.code, Code::NotFound | Code::InvalidRequest | Code::MethodNotAllowed), "{error}");
            let allowed =
                error.details.as_ref().map(|details| details["allowed_methods"].as_array().cloned().unwrap_or_default());
            for method in allowed.unwrap_or_default() {
                let again = Route::parse(method.as_str().unwrap(), path).err().and_then(|error| error.details);
                assert!(again.is_none_or(|details| details.get("allowed_methods").is_none()), "{method} {path}");
            }
            return;
        }
    };
    if let Some(id) = route.sandbox() {
        assert_eq!(id.as_str().parse::<SandboxId>().as_ref(), Ok(id));
    }
    if let Route::Agent { rest, .. } | Route::Proxy { rest, .. } = &route {
        assert!(path.trim_end_matches('/').ends_with(rest.trim_end_matches('/')), "{rest}");
    }
    if let Route::Agent { rest, .. } = &route {
        assert!(*rest != "ports" && !rest.starts_with("ports/"), "a port is not the agent's: {rest}");
    }
    let look = method == "GET" || method == "HEAD";
    let (operation, read_only) = route.access(method, |access| (access.operation.to_owned(), access.read_only));
    let declared = table::find(&operation).is_some_and(|operation| operation.read_only);
    assert!(!read_only || look || declared || operation == "connect", "{method} {path} is not read-only: {operation}");
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_target_holds_on_its_seeds_and_their_mutations() {
        replay::replay(&TARGETS, &PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz"));
    }
}
