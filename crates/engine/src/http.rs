//! Responses and connections of the HTTP servers of this crate.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{StatusCode, header};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A response with a small body.
pub type Response = hyper::Response<Full<Bytes>>;

/// Pause after a failed accept (out of file descriptors, mostly), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A response without a body.
pub fn empty(status: StatusCode) -> Response {
    with_body(status, None, Bytes::new())
}

/// A response of plain text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response {
    with_body(status, Some("text/plain; charset=utf-8"), text.into().into())
}

/// A response of JSON.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    with_body(status, Some("application/json"), value.to_string().into())
}

fn with_body(status: StatusCode, kind: Option<&'static str>, body: Bytes) -> Response {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    if let Some(kind) = kind {
        let kind = header::HeaderValue::from_static(kind);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// Reads a whole body of at most `limit` bytes. `None` if it is longer or incomplete.
pub async fn body(body: Incoming, limit: usize) -> Option<Bytes> {
    let body = Limited::new(body, limit).collect().await.ok()?;
    Some(body.to_bytes())
}

/// Accepts the next TCP connection.
pub async fn accept_tcp(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => pause(&error).await,
        }
    }
}

/// Accepts the next connection of a Unix socket.
pub async fn accept_unix(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => pause(&error).await,
        }
    }
}

async fn pause(error: &std::io::Error) {
    tracing::warn!(%error, "accepting a connection failed");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
