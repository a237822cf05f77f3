//! Images over HTTP.

use std::collections::{BTreeMap, BTreeSet};

use hyper::StatusCode;
use serde_json::json;

use super::error::ApiError;
use crate::engine::{Engine, EngineError};
use crate::http::{self, Response};
use crate::image::{Image, dockerfile};

type Outcome = Result<Response, ApiError>;

/// Registers an image. The body is the Dockerfile's text: there is no context, since nothing is built.
pub(super) fn build(engine: &Engine, tag: &str, arguments: &BTreeMap<String, String>, body: &[u8]) -> Outcome {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::bad_request("the body is not a Dockerfile's text"))?;
    let ports = dockerfile::exposed_ports(text, arguments)?;
    let image = Image::new(tag, ports).with_env(dockerfile::environment_of(text, arguments));
    let response = http::json(StatusCode::OK, &image.inspect());
    engine.add_image(image);
    Ok(response)
}

/// Registers an image of this name, unless there is one.
pub(super) fn pull(engine: &Engine, reference: &str) -> Response {
    let mut images = engine.images();
    if images.find(reference).is_none() {
        images.insert(Image::new(reference, BTreeSet::new()));
    }
    http::json(StatusCode::OK, &json!({ "status": "registered; nothing was downloaded" }))
}

pub(super) fn list(engine: &Engine) -> Response {
    http::json(StatusCode::OK, &engine.images().iter().map(Image::inspect).collect())
}

pub(super) fn inspect(engine: &Engine, reference: &str) -> Outcome {
    let images = engine.images();
    let image = images.find(reference).ok_or_else(|| missing(reference))?;
    Ok(http::json(StatusCode::OK, &image.inspect()))
}

pub(super) fn tag(engine: &Engine, reference: &str, target: &str) -> Outcome {
    if engine.images().tag(reference, target) { Ok(http::empty(StatusCode::CREATED)) } else { Err(missing(reference).into()) }
}

/// Makes an image of what a running container has changed.
pub(super) async fn commit(engine: &Engine, container: &str, repository: &str, pause: bool) -> Outcome {
    if let Some(faults) = &engine.settings().faults {
        let container = engine.container(container)?;
        let identity = container.identity();
        faults.delay_or_refuse_commit(&identity.name, &identity.spec).await?;
    }
    let image = engine.commit(container, repository, pause).await?;
    Ok(http::json(StatusCode::CREATED, &json!({ "Id": image.id })))
}

/// Removes a name. The layers go with the last image and container that has them.
pub(super) fn remove(engine: &Engine, reference: &str) -> Outcome {
    let image = engine.images().remove(reference).ok_or_else(|| missing(reference))?;
    engine.sweep_layers();
    Ok(http::json(StatusCode::OK, &json!([{ "Untagged": image.name }])))
}

fn missing(reference: &str) -> EngineError {
    EngineError::NoSuchImage(reference.to_owned())
}
