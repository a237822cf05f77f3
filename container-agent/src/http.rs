//! The agent over HTTP: operations, the byte lane, the WebSocket and its health.
//!
//! | route | what it is |
//! | --- | --- |
//! | `GET /health` | whether it is up; open to all |
//! | `POST /v1/<family>/<verb>` | any operation ([`call`]) |
//! | `GET`, `HEAD`, `PUT`, `DELETE /v1/files` | content of files ([`files`]) |
//! | `GET`, `PUT /v1/archive` | trees of files as tar archives ([`archive`]) |
//! | `GET /v1/connect` | operations over a WebSocket ([`socket`]) |

mod answer;
mod archive;
mod call;
mod files;
mod patience;
mod socket;
mod upload_headers;

/// What fuzzing calls.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz {
    pub use super::{call::fuzz::headers, files::fuzz::range, socket::fuzz::frame};
}

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, Uri, header},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use cabana_protocol::{
    Code, Error,
    health::{Health, PROTOCOL},
    system, table,
};

use crate::{Agent, dispatch, log, summary};
use answer::Failure;

/// All of it.
pub fn router(agent: Agent) -> Router {
    let methods = get(files::get).put(files::put).delete(files::delete).fallback(wrong_method);
    let lanes = Router::new()
        .route("/v1/files", methods)
        .route("/v1/archive", get(archive::get).put(archive::put).fallback(wrong_method))
        .layer(middleware::from_fn_with_state(agent.clone(), say_what));
    let operations = lanes
        .route("/v1/connect", get(socket::connect).fallback(wrong_method))
        .route("/v1/{*operation}", post(call::call).fallback(wrong_method))
        .fallback(unknown)
        .layer(middleware::map_request_with_state(agent.clone(), patience::limit))
        .layer(middleware::from_fn_with_state(agent.clone(), authorize))
        .layer(middleware::from_fn(log::name_request));
    Router::new().route("/health", get(health).fallback(wrong_method)).merge(operations).with_state(agent)
}

async fn health(State(agent): State<Agent>) -> Response {
    let (busy, idle) = agent.activity.look();
    let health = Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        incarnation: agent.processes.incarnation().to_owned(),
        proof: agent.secret.proof().to_owned(),
        busy,
        idle_ms: u64::try_from(idle.as_millis()).unwrap_or(u64::MAX),
        confinement: Some(system::Confinement::from(agent.roots.confinement())),
    };
    answer::json(dispatch::encode(&health).unwrap_or_default())
}

/// Lets nobody pass who does not know the secret: code in the sandbox reaches this port too.
async fn authorize(State(agent): State<Agent>, request: Request, next: Next) -> Result<Response, Failure> {
    match bearer(request.headers()) {
        Some(token) if agent.secret.is(token) => {}
        _ => {
            return Err(Failure::new(
                request.headers(),
                Error::new(Code::Unauthorized, "the agent's secret is missing or wrong"),
            ));
        }
    }
    let busy = keeps_awake(request.uri().path()).then(|| agent.activity.begin());
    let response = next.run(request).await;
    Ok(match busy {
        Some(busy) => response.map(|body| busy.until_sent(body)),
        None => response,
    })
}

/// Whether a request keeps the sandbox awake while it is under way. A WebSocket does not: its operations do.
fn keeps_awake(path: &str) -> bool {
    let name = path.trim_start_matches("/v1/").trim_end_matches('/').replace('/', ".");
    name != "connect" && table::find(&name).is_none_or(|operation| operation.asleep.is_none())
}

/// Says in the answers of the byte lanes what they were about: method and path.
async fn say_what(State(agent): State<Agent>, request: Request, next: Next) -> Response {
    let pairs = files::form(request.uri().query().unwrap_or_default());
    let path = pairs.filter(|(name, _)| name == b"path").map(|(_, path)| path).last().unwrap_or_default();
    let about = format!("{} {}", request.method(), String::from_utf8_lossy(&path));
    let about = summary::redact(&about, agent.masked.iter().map(String::as_str));
    answer::about(next.run(request).await, &about)
}

/// The token of the one Authorization header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ") && values.next().is_none()).then_some(token)
}

async fn wrong_method(method: Method, uri: Uri, headers: HeaderMap) -> Failure {
    Failure::new(&headers, Error::invalid_request(format!("{method} is not for {}", uri.path())))
}

async fn unknown(uri: Uri, headers: HeaderMap) -> Failure {
    Failure::new(&headers, Error::not_found(format!("there is nothing at {}", uri.path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_and_an_idle_socket_keep_nothing_awake() {
        for (path, awake) in [
            ("/v1/exec", true),
            ("/v1/files", true),
            ("/v1/process/attach", true),
            ("/v1/process/list", false),
            ("/v1/system/stats/", false),
            ("/v1/connect", false),
        ] {
            assert_eq!(keeps_awake(path), awake, "{path}");
        }
    }

    #[test]
    fn one_bearer_token_is_taken() {
        for (values, token) in [
            (&["Bearer abc"][..], Some("abc")),
            (&["bearer abc"], Some("abc")),
            (&["Basic abc"], None),
            (&["Bearer"], None),
            (&["Bearer a", "Bearer b"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(bearer(&headers), token.map(str::as_bytes), "{values:?}");
        }
    }
}
