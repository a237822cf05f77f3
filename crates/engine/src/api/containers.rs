//! Containers over HTTP.

use std::time::Duration;

use hyper::StatusCode;
use rustix::process::Signal;
use serde_json::json;

use super::error::ApiError;
use super::filters::Filters;
use crate::container::inspect;
use crate::container::spec::Spec;
use crate::container::state::Condition;
use crate::container::upload;
use crate::engine::Engine;
use crate::http::{self, Response};

type Outcome = Result<Response, ApiError>;

pub(super) fn list(engine: &Engine, all: bool, filters: &Filters) -> Response {
    let containers = engine.containers();
    let shown = containers
        .iter()
        .filter(|container| all || container.state().is_running())
        .filter(|container| filters.admit(container.identity()));
    http::json(StatusCode::OK, &shown.map(inspect::summary).collect())
}

pub(super) fn create(engine: &Engine, name: Option<&str>, body: &[u8]) -> Outcome {
    let mut spec = Spec::parse(body)?;
    if let Some(program) = engine.settings().faults.as_ref().and_then(|faults| faults.program(name.unwrap_or_default(), &spec)) {
        spec.argv = program;
    }
    let container = engine.create(name, spec)?;
    let id = &container.identity().id;
    Ok(http::json(StatusCode::CREATED, &json!({ "Id": id, "Warnings": [] })))
}

pub(super) fn inspect(engine: &Engine, container: &str) -> Outcome {
    let container = engine.container(container)?;
    Ok(http::json(StatusCode::OK, &inspect::inspect(&container)))
}

pub(super) async fn start(engine: &Engine, container: &str) -> Outcome {
    let container = engine.container(container)?;
    if let Some(faults) = &engine.settings().faults {
        let identity = container.identity();
        if !faults.delay_or_refuse(&identity.name, &identity.spec).await? {
            return Ok(http::empty(StatusCode::NO_CONTENT));
        }
    }
    container.start().await?;
    Ok(http::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn wait(engine: &Engine, container: &str, condition: Condition) -> Outcome {
    let container = engine.container(container)?;
    let faults = engine.settings().faults.as_ref().filter(|_| condition != Condition::Removed);
    if let Some(words) = faults.and_then(|faults| faults.words_of_end(&container.identity().name)) {
        return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, words));
    }
    let code = container.wait(condition).await;
    Ok(http::json(StatusCode::OK, &json!({ "StatusCode": code })))
}

pub(super) async fn kill(engine: &Engine, container: &str, signal: Signal) -> Outcome {
    engine.container(container)?.kill(signal).await?;
    Ok(http::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn stop(engine: &Engine, container: &str, grace: Duration) -> Outcome {
    let container = engine.container(container)?;
    if !container.state().is_running() {
        return Ok(http::empty(StatusCode::NOT_MODIFIED));
    }
    container.stop(grace).await?;
    Ok(http::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn remove(engine: &Engine, container: &str, force: bool) -> Outcome {
    let container = engine.container(container)?;
    if let Some(faults) = &engine.settings().faults {
        let identity = container.identity();
        faults.delay_removal(&identity.name, &identity.spec).await;
    }
    container.remove(force).await?;
    Ok(http::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn upload(engine: &Engine, container: &str, directory: &str, archive: &[u8]) -> Outcome {
    let container = engine.container(container)?;
    container.upload(upload::read(directory, archive).map_err(ApiError::bad_request)?).await?;
    Ok(http::empty(StatusCode::OK))
}
