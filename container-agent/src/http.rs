//! The agent over HTTP: operations, the byte lane, the WebSocket and its health.
//!
//! | route | what it is |
//! | --- | --- |
//! | `GET /health` | whether it is up; open to all |
//! | `POST /v1/<family>/<verb>` | any operation ([`call`]); by `GET`, too, one that only looks |
//! | `GET`, `HEAD`, `PUT`, `DELETE /v1/files` | content of files ([`files`]) |
//! | `GET`, `PUT /v1/archive` | trees of files as tar archives ([`archive`]) |
//! | `POST`, `PUT /chunks` | archives in chunks, for the Durable Object ([`chunks`]) |
//! | `GET`, `PUT /v1/env` | the variables of new commands, for the Durable Object ([`variables`]) |
//! | `GET /v1/connect` | operations over a WebSocket ([`socket`]) |
//! | `DELETE /calls/{call}` | the object says that the client of a call has hung up |

mod answer;
mod archive;
mod body_timeout;
mod call;
mod chunks;
mod files;
mod socket;
mod upload_headers;
mod variables;

/// What fuzzing calls.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz {
    pub use super::{call::fuzz::headers, files::fuzz::range, socket::fuzz::frame};
}

use std::{
    future::{Ready, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::Response,
    routing::{any, delete, get, post},
};
use cabana_protocol::{
    Code, Error,
    health::{CHALLENGE, Health, PROTOCOL},
    system, table,
};
use serde_json::json;

use crate::{
    Agent,
    body::{self, through},
    connections::Connection,
    dispatch, log, redact,
};
use answer::ErrorResponse;

/// All routes.
pub fn router(agent: Agent) -> Router {
    let methods = get(files::get).put(files::put).delete(files::delete).fallback(only(&["GET", "HEAD", "PUT", "DELETE"]));
    let lanes = Router::new()
        .route("/v1/files", methods)
        .route("/v1/archive", get(archive::get).put(archive::put).fallback(only(&["GET", "HEAD", "PUT"])))
        .layer(middleware::from_fn_with_state(agent.clone(), summarize));
    let operations = lanes
        .route("/v1/env", get(variables::get).put(variables::put).fallback(only(&["GET", "HEAD", "PUT"])))
        .route("/v1/connect", get(socket::connect).fallback(only(&["GET"])))
        .route(cabana_protocol::chunk::PATH, post(chunks::post).put(chunks::put).fallback(only(&["POST", "PUT"])))
        .route("/v1/{*operation}", any(call::call))
        .route(&cabana_protocol::call::path("{call}"), delete(hang_up).fallback(only(&["DELETE"])))
        .fallback(unknown)
        .layer(middleware::map_request_with_state(agent.clone(), body_timeout::limit))
        .layer(middleware::from_fn_with_state(agent.clone(), authorize))
        .layer(middleware::from_fn(log::name_request));
    Router::new().route("/health", get(health).fallback(only(&["GET", "HEAD"]))).merge(operations).with_state(agent)
}

async fn health(State(agent): State<Agent>, RawQuery(query): RawQuery) -> Response {
    let challenge = dispatch::query_pairs(query.as_deref().unwrap_or_default()).find(|(name, _)| name == CHALLENGE.as_bytes());
    let challenge = challenge.and_then(|(_, value)| String::from_utf8(value).ok());
    let (busy, idle) = agent.activity.look();
    let health = Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        incarnation: agent.processes.incarnation().to_owned(),
        proof: challenge.and_then(|challenge| agent.secret.prove(&challenge)).unwrap_or_default(),
        busy,
        idle_ms: u64::try_from(idle.as_millis()).unwrap_or(u64::MAX),
        confinement: Some(system::Confinement::from(agent.fs.roots().confinement())),
    };
    answer::json(dispatch::encode_line(&health).unwrap_or_default())
}

/// The connection ends with the answer: the object has one for each such call, and no use for it afterwards.
async fn hang_up(State(agent): State<Agent>, Path(call): Path<String>) -> (StatusCode, [(HeaderName, &'static str); 1]) {
    agent.calls.hang_up(&call);
    (StatusCode::NO_CONTENT, [(header::CONNECTION, "close")])
}

/// Admits requests with the agent's secret: code in the sandbox reaches this port too. What is admitted holds a connection permit until
/// its answer has been sent.
async fn authorize(State(agent): State<Agent>, mut request: Request, next: Next) -> Result<Response, ErrorResponse> {
    match bearer(request.headers()) {
        Some(token) if agent.secret.is(token) => {}
        _ => {
            return Err(ErrorResponse::new(
                request.headers(),
                Error::new(Code::Unauthorized, "the agent's secret is missing or wrong"),
            ));
        }
    }
    // The server puts it into every request.
    let connection = request.extensions_mut().remove::<Connection>();
    let permit = match connection.map(|connection| connection.admit()).transpose() {
        Ok(permit) => permit.map(Arc::new),
        Err(error) => {
            let refusal = ErrorResponse::new(request.headers(), error);
            answer::linger(request.into_body().into_data_stream()).await;
            return Err(refusal);
        }
    };
    // A WebSocket keeps it past the upgrade.
    request.extensions_mut().insert(permit.clone());
    let busy = keeps_awake(request.uri().path()).then(|| agent.activity.begin());
    let response = next.run(request).await;
    Ok(response.map(|body| body::holding(body, (permit, busy))))
}

/// Whether a request keeps the sandbox awake until its answer has been sent. A WebSocket does not: its operations do. Nor do changes of
/// variables, which wake nothing.
fn keeps_awake(path: &str) -> bool {
    let name = path.trim_start_matches("/v1/").trim_end_matches('/').replace('/', ".");
    !matches!(name.as_str(), "connect" | "env") && table::find(&name).is_none_or(|operation| operation.asleep.is_none())
}

/// Adds the audit-summary header, method and path, to the answers of the byte lanes.
async fn summarize(State(agent): State<Agent>, request: Request, next: Next) -> Response {
    let pairs = dispatch::query_pairs(request.uri().query().unwrap_or_default());
    let path = pairs.filter(|(name, _)| name == b"path").map(|(_, path)| path).last().unwrap_or_default();
    let about = format!("{} {}", request.method(), String::from_utf8_lossy(&path));
    let masked = agent.processes.variables().masked();
    let about = redact::one_line(&about, masked.iter().map(String::as_str));
    let (request, received) = counted(request);
    let response = answer::with_summary(next.run(request).await, &about);
    answer::with_received(response, received.load(Ordering::Relaxed))
}

/// The same request, and how many bytes of its body have come.
fn counted(request: Request) -> (Request, Arc<AtomicU64>) {
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    let count = move |body: Pin<&mut Body>, context: &mut Context<'_>| {
        let next = body.poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &next {
            counter.fetch_add(frame.data_ref().map_or(0, |piece| piece.len() as u64), Ordering::Relaxed);
        }
        next
    };
    (request.map(|body| through(body, count)), received)
}

/// The bearer token of the only Authorization header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ") && values.next().is_none()).then_some(token)
}

/// Refuses all methods but these.
fn only(allowed: &'static [&'static str]) -> impl Fn(Method, Uri, HeaderMap) -> Ready<ErrorResponse> + Clone {
    move |method, uri, headers| ready(ErrorResponse::new(&headers, method_not_allowed(&method, uri.path(), allowed)))
}

fn method_not_allowed(method: &Method, path: &str, allowed: &[&str]) -> Error {
    let message = format!("{path} does not take the method {method}, only {}", allowed.join(", "));
    Error::new(Code::MethodNotAllowed, message).with_details(json!({ "allowed_methods": allowed }))
}

async fn unknown(uri: Uri, headers: HeaderMap) -> ErrorResponse {
    ErrorResponse::new(
        &headers,
        Error::not_found(format!("there is no route {}", uri.path())).with_details(json!({ "reason": "no_such_route" })),
    )
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
            ("/v1/env", false),
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
