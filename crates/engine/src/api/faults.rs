//! Faults over HTTP, where the engine lets clients inject them.

use hyper::StatusCode;
use serde_json::json;

use super::error::ApiError;
use crate::engine::Engine;
use crate::faults::StartFaults;
use crate::http::{self, Response};

type Outcome = Result<Response, ApiError>;

pub(super) fn inject(engine: &Engine, name: String, body: &[u8]) -> Outcome {
    let faults = enabled(engine)?;
    let fault = serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("the fault: {error}")))?;
    faults.inject(name, fault);
    Ok(http::empty(StatusCode::NO_CONTENT))
}

pub(super) fn inspect(engine: &Engine, name: &str) -> Outcome {
    let fault = enabled(engine)?.find(name).ok_or_else(|| missing(name))?;
    Ok(http::json(StatusCode::OK, &json!(fault)))
}

pub(super) fn remove(engine: &Engine, name: &str) -> Outcome {
    let fault = enabled(engine)?.remove(name).ok_or_else(|| missing(name))?;
    Ok(http::json(StatusCode::OK, &json!(fault)))
}

fn enabled(engine: &Engine) -> Result<&StartFaults, ApiError> {
    let refused = || ApiError::new(StatusCode::NOT_FOUND, "this engine was started without --faults");
    engine.settings().faults.as_ref().ok_or_else(refused)
}

fn missing(name: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("no such fault: {name}"))
}
