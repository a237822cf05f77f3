//! What is answered to everyone: that the gateway is up, and what there is to ask for.

use std::sync::LazyLock;

use cabana::{RequestId, reply, request_id};
use serde_json::json;
use worker::{Response, ResponseBuilder};

use crate::{documentation::page, route::Route};

/// The API for programs; a test of the protocol crate keeps it up to date, and `build.rs` takes out its white space.
const DESCRIPTION: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// The same to read. It is made when it is first asked for: as a file it would be a twentieth of the compressed Worker.
static DOCUMENTATION: LazyLock<String> = LazyLock::new(|| page(&serde_json::from_str(DESCRIPTION).unwrap_or_default()));

const HTML: &str = "text/html; charset=utf-8";

/// A page may be seen and styled, and run its own search, and do nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'sha256-S9jsTdeYA36THJqsSBIDFLhhv5bv89PltumolzJns1M='; frame-ancestors 'none'";

/// Where a person types cells and sees what they show. It holds nothing: the reader pastes a key.
const NOTEBOOK: &str = include_str!("notebook.html");

/// It speaks to its own host. What it frames without an origin of its own is held to the same, so that HTML of a kernel reaches nothing.
const NOTEBOOK_POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; style-src 'unsafe-inline'; \
    script-src 'sha256-+LyjLZsGws4CcYhH2amL2LCBqF2b/M4qRmHXxR65GAM='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The answer of a route that is open to everyone; `None` for any other.
pub fn answer(route: &Route, request_id: &RequestId) -> Option<Response> {
    match route {
        Route::Health => Some(reply::json(200, &json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }), request_id)),
        Route::Description => Some(fixed(DESCRIPTION, "application/json", PAGE_POLICY, request_id)),
        Route::Documentation => Some(fixed(&DOCUMENTATION, HTML, PAGE_POLICY, request_id)),
        Route::Notebook(_) => Some(fixed(NOTEBOOK, HTML, NOTEBOOK_POLICY, request_id)),
        _ => None,
    }
}

fn fixed(content: &'static str, media_type: &str, policy: &str, request_id: &RequestId) -> Response {
    let headers = [
        ("content-type", media_type),
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        (request_id::HEADER, request_id.as_str()),
    ];
    let response = ResponseBuilder::new().fixed(content.into());
    headers.into_iter().fold(response, |response, (name, value)| reply::with_header(response, name, value))
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn every_operation_has_its_place_on_the_page() {
        for operation in cabana_protocol::table::DESCRIPTORS {
            assert!(DOCUMENTATION.contains(&format!("id=\"{}\"", operation.name)), "{}", operation.name);
        }
        assert!(DOCUMENTATION.ends_with("</html>\n"));
    }

    #[test]
    fn pages_may_run_their_own_script_alone() {
        for (page, policy) in [(DOCUMENTATION.as_str(), PAGE_POLICY), (NOTEBOOK, NOTEBOOK_POLICY)] {
            let scripts: Vec<_> = page.split("<script>").skip(1).map(|rest| rest.split("</script>").next().unwrap()).collect();
            assert_eq!(scripts.len(), 1);
            let digest = BASE64.encode(&Sha256::digest(scripts[0]));
            assert!(policy.contains(&format!("script-src 'sha256-{digest}'")), "sha256-{digest}");
        }
    }
}
