//! The Docker Engine API, as far as workerd and the CLI face use it.
//!
//! ```text
//! route.rs      method and path -> the requested operation (pure)
//! filters.rs    which containers a list shows (pure)
//! error.rs      errors -> status and message
//! containers.rs, images.rs, system.rs, faults.rs   the handlers
//! ```

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Engine;
use crate::http::{self, Response};

mod containers;
mod error;
mod faults;
mod filters;
mod images;
mod route;
mod system;

use error::ApiError;
use route::Route;

/// Largest body of a request, in bytes: a Dockerfile or the description of a container.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// Serves the socket until `stop`; then aborts the requests that are still open.
pub async fn serve(listener: UnixListener, engine: Engine, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            stream = http::accept_unix(&listener) => stream,
        };
        connections.spawn(connection(stream, engine.clone(), stop.clone()));
    }
    connections.close();
    connections.wait().await;
}

async fn connection(stream: UnixStream, engine: Engine, stop: CancellationToken) {
    let service = service_fn(|request| {
        let engine = engine.clone();
        async move { Ok::<_, Infallible>(respond(&engine, request).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        () = stop.cancelled() => {}
        // A client may disconnect at any time, e.g. from a wait.
        _ = connection => {}
    }
}

async fn respond(engine: &Engine, request: Request<Incoming>) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let outcome = dispatch(engine, request).await;
    let response = outcome.unwrap_or_else(ApiError::into_response);
    tracing::debug!(%method, %uri, status = response.status().as_u16(), "answered");
    response
}

async fn dispatch(engine: &Engine, request: Request<Incoming>) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let route = Route::parse(&parts.method, parts.uri.path(), parts.uri.query())?;
    let body = http::body(body, BODY_LIMIT).await.ok_or_else(|| {
        let message = format!("the body is incomplete, or longer than {BODY_LIMIT} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    match route {
        Route::Ping => Ok(system::ping()),
        Route::Version => Ok(system::version()),
        Route::Info => Ok(system::info(engine)),
        Route::Network { name } => Ok(system::network(&name)),
        Route::Build { tag, arguments } => images::build(engine, &tag, &arguments, &body),
        Route::Pull { reference } => Ok(images::pull(engine, &reference)),
        Route::Images => Ok(images::list(engine)),
        Route::InspectImage { reference } => images::inspect(engine, &reference),
        Route::TagImage { reference, target } => images::tag(engine, &reference, &target),
        Route::RemoveImage { reference } => images::remove(engine, &reference),
        Route::Commit { container, repository, pause } => images::commit(engine, &container, &repository, pause).await,
        Route::Containers { all, filters } => Ok(containers::list(engine, all, &filters)),
        Route::Volumes => Ok(system::volumes()),
        Route::RemoveVolume { name } => Err(system::no_such_volume(&name)),
        Route::Create { name } => containers::create(engine, name.as_deref(), &body),
        Route::Inspect { container } => containers::inspect(engine, &container),
        Route::Start { container } => containers::start(engine, &container).await,
        Route::Wait { container, condition } => containers::wait(engine, &container, condition).await,
        Route::Kill { container, signal } => containers::kill(engine, &container, signal).await,
        Route::Stop { container, grace } => containers::stop(engine, &container, grace).await,
        Route::Remove { container, force } => containers::remove(engine, &container, force).await,
        Route::Upload { container, directory } => containers::upload(engine, &container, &directory, &body).await,
        Route::InjectFault { name } => faults::inject(engine, name, &body),
        Route::InspectFault { name } => faults::inspect(engine, &name),
        Route::RemoveFault { name } => faults::remove(engine, &name),
    }
}
