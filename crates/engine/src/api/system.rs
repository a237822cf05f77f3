//! The engine itself over HTTP.

use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::json;

use super::error::ApiError;
use crate::engine::Engine;
use crate::http::{self, Response};
use crate::image::architecture;

/// The version of Docker's API whose schema the responses follow.
const API_VERSION: &str = "1.44";

pub(super) fn ping() -> Response {
    let mut response = http::text(StatusCode::OK, "OK");
    let version = HeaderValue::from_static(API_VERSION);
    response.headers_mut().insert("api-version", version);
    response
}

pub(super) fn version() -> Response {
    let version = json!({
        "Platform": { "Name": "cabana-engine" },
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": API_VERSION,
        "MinAPIVersion": "1.24",
        "Os": "linux",
        "Arch": architecture(),
    });
    http::json(StatusCode::OK, &version)
}

pub(super) fn info(engine: &Engine) -> Response {
    let containers = engine.containers();
    let running = containers.iter().filter(|container| container.state().is_running());
    let info = json!({
        "Name": "cabana-engine",
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "OperatingSystem": "the host's, shared with every sandbox",
        "OSType": "linux",
        "Architecture": architecture(),
        "Driver": "overlay of the host's root",
        "DriverStatus": [],
        "SecurityOptions": [],
        "Warnings": engine.warnings(),
        "Containers": containers.len(),
        "ContainersRunning": running.count(),
        "Images": engine.images().iter().count(),
    });
    http::json(StatusCode::OK, &info)
}

/// Every network is the loopback interface: workerd listens on the gateway's address.
pub(super) fn network(name: &str) -> Response {
    let network = json!({
        "Name": name,
        "Id": name,
        "Driver": "null",
        "IPAM": { "Config": [{ "Subnet": "127.0.0.0/8", "Gateway": "127.0.0.1" }] },
    });
    http::json(StatusCode::OK, &network)
}

/// Always empty: the engine has no volumes.
pub(super) fn volumes() -> Response {
    http::json(StatusCode::OK, &json!({ "Volumes": [], "Warnings": [] }))
}

pub(super) fn no_such_volume(name: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("no such volume: {name}"))
}
