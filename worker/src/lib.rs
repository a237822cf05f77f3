//! The deployable gateway: routes and authentication over the cabana library.
//!
//! `GET /health` is open; everything else needs the API key ([`auth`]), paths that do not exist included. What is let in is
//! answered by [`cabana::proxy_to_sandbox`].
//!
//! | variable | meaning |
//! | --- | --- |
//! | `CABANA_API_KEY` | the key every request must show; best set as a secret. Without it every request is refused |
//! | `CABANA_START_TIMEOUT_MS`, `CABANA_START_LIMIT_MS`, `CABANA_SLEEP_AFTER_MS`, `CABANA_INTERNET` | see [`cabana::Config`] |

pub mod auth;

use cabana::{Error, Principal, RequestId, proxy_to_sandbox, reply};
use serde_json::json;
use worker::{Context, Env, Request, Response, Result, event};

use crate::auth::{Config, Credentials};

/// The Durable Object class that wrangler.jsonc names.
pub use cabana::Sandbox;

/// The Durable Object binding of [`Sandbox`] in wrangler.jsonc.
const BINDING: &str = "SANDBOX";

#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    if request.path() == "/health" {
        return Ok(health(&request));
    }
    match authenticate(&request, &env) {
        Ok(principal) => Ok(proxy_to_sandbox(request, &env, BINDING, &principal).await),
        Err(error) => Ok(reply::error(&error, &RequestId::of(request.headers()))),
    }
}

fn authenticate(request: &Request, env: &Env) -> std::result::Result<Principal, Error> {
    auth::authenticate(&Credentials::of(request)?, &Config::read(env))
}

fn health(request: &Request) -> Response {
    let request_id = RequestId::of(request.headers());
    // As it came: workers-rs takes every method that it does not know for GET.
    match request.inner().method().as_str() {
        "GET" | "HEAD" => reply::json(200, &json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }), &request_id),
        method => {
            let message = format!("the method {method} is not allowed here, only GET, HEAD");
            let error = Error::invalid_request(message).with_details(json!({ "allowed_methods": ["GET", "HEAD"] }));
            reply::error(&error, &request_id)
        }
    }
}
