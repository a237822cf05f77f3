//! A small client of the engine's socket.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// A client of the engine on one socket. Each request opens its own connection.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// A response with its whole body.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON; `null` if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The message of an error, or else the body as text.
    pub fn message(&self) -> String {
        match self.json()["message"].as_str() {
            Some(message) => message.to_owned(),
            None => String::from_utf8_lossy(&self.body).into_owned(),
        }
    }
}

impl Client {
    /// A client of this socket; it does not connect yet.
    pub fn new(socket: impl AsRef<Path>) -> Self {
        Self { socket: socket.as_ref().to_owned() }
    }

    /// Sends one request and reads the whole response.
    pub async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Reply> {
        let stream =
            UnixStream::connect(&self.socket).await.with_context(|| format!("no engine answers on {}", self.socket.display()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder().method(method).uri(path).header(header::HOST, "engine").body(Full::new(body.into()))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok(Reply { status, body })
        };
        tokio::pin!(connection);
        tokio::pin!(exchange);
        tokio::select! {
            reply = &mut exchange => reply,
            // The connection may end at the same time as the exchange.
            _ = &mut connection => exchange.await,
        }
    }
}
