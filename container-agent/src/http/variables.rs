//! `/v1/env`: the variables of new commands, as the sandbox's Durable Object sets them. The gateway lets no caller through to here.

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use cabana_protocol::{Error, variables::SetVariables};

use super::answer::{self, ErrorResponse};
use crate::{
    Agent,
    dispatch::encode_line,
    process::command,
    threads::{self, Length},
};

/// What the image brings.
pub(super) async fn get(State(agent): State<Agent>, request: Request) -> Response {
    let processes = std::sync::Arc::clone(&agent.processes);
    let image = threads::run(Length::Short, move || {
        let user = command::user(&processes, None)?;
        encode_line(&processes.variables().image(user.as_ref()))
    });
    let image = image.await.and_then(|image| image);
    image.map(answer::json).map_err(|error| ErrorResponse::new(request.headers(), error)).into_response()
}

/// Replaces what comes on top of it.
pub(super) async fn put(State(agent): State<Agent>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let set = set(&agent, body).await;
    set.map(answer::json).map_err(|error| ErrorResponse::new(&parts.headers, error)).into_response()
}

async fn set(agent: &Agent, body: Body) -> Result<axum::body::Bytes, Error> {
    let odd = || Error::invalid_request("the variables cannot be read");
    let body = to_bytes(body, agent.limits.request_bytes).await.map_err(|_| odd())?;
    // What serde says would quote a value.
    let request: SetVariables = serde_json::from_slice(&body).map_err(|_| odd())?;
    agent.processes.variables().set(request)?;
    encode_line(&cabana_protocol::file::Done {})
}
