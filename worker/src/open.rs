//! What is answered to everyone: that the gateway is up, and what there is to ask for.

use cabana::{RequestId, reply, request_id};
use serde_json::json;
use worker::{Response, ResponseBuilder};

use crate::route::Route;

/// The API for programs; a test of the protocol crate keeps it up to date.
const DESCRIPTION: &str = include_str!("../../crates/protocol/openapi.json");

/// The same to read.
const DOCUMENTATION: &str = include_str!("../../crates/protocol/openapi.html");

/// A page may be seen and styled, and do nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// The answer of a route that is open to everyone; `None` for any other.
pub fn answer(route: &Route, request_id: &RequestId) -> Option<Response> {
    match route {
        Route::Health => Some(reply::json(200, &json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }), request_id)),
        Route::Description => Some(fixed(DESCRIPTION, "application/json", request_id)),
        Route::Documentation => Some(fixed(DOCUMENTATION, "text/html; charset=utf-8", request_id)),
        _ => None,
    }
}

fn fixed(content: &'static str, media_type: &str, request_id: &RequestId) -> Response {
    let headers = [
        ("content-type", media_type),
        ("content-security-policy", PAGE_POLICY),
        ("x-content-type-options", "nosniff"),
        (request_id::HEADER, request_id.as_str()),
    ];
    let response = ResponseBuilder::new().fixed(content.into());
    headers.into_iter().fold(response, |response, (name, value)| reply::with_header(response, name, value))
}
