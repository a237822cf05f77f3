//! One request over HTTP: sent, repeated where that is safe, and its answer read.

use std::time::Duration;

use bytes::Bytes;
use cabana_protocol::{Code, error::ErrorBody};
use http::{Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{Body, Client, Error, Result, retry};

/// How long the service may say nothing: long answers show every 5 s that they live.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

/// A request.
pub(crate) struct Request {
    method: Method,
    path: String,
    headers: Vec<(header::HeaderName, String)>,
    body: Content,
    idempotent: bool,
}

enum Content {
    None,
    Bytes(Bytes),
    /// Read once, so the request is sent once.
    Stream(Body),
}

impl Request {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        let idempotent = !matches!(method, Method::POST | Method::PATCH);
        Self { method, path: path.into(), headers: Vec::new(), body: Content::None, idempotent }
    }

    pub(crate) fn with_json(mut self, body: &impl Serialize) -> Result<Self> {
        let json = serde_json::to_vec(body).map_err(|error| Error::Invalid(format!("the request is not JSON: {error}")))?;
        self.body = Content::Bytes(json.into());
        Ok(self.with_header(header::CONTENT_TYPE, "application/json"))
    }

    pub(crate) fn with_stream(mut self, body: Body) -> Self {
        self.body = Content::Stream(body);
        self.with_header(header::CONTENT_TYPE, "application/octet-stream")
    }

    pub(crate) fn with_query(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        // A path in the query need not be UTF-8.
        let value = percent_encode(value.as_ref(), NON_ALPHANUMERIC);
        Self { path: format!("{}{separator}{name}={value}", self.path), ..self }
    }

    pub(crate) fn with_header(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }
}

impl Client {
    /// Sends a request and reads its answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(Error::malformed)
    }

    /// The same for routes that may answer nothing.
    pub(crate) async fn json_or_nothing(&self, request: Request) -> Result<Value> {
        let bytes = self.bytes(request).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(Error::malformed)
    }

    /// Sends a request whose answer has no content.
    pub(crate) async fn empty(&self, request: Request) -> Result<()> {
        self.bytes(request).await.map(drop)
    }

    async fn bytes(&self, mut request: Request) -> Result<Bytes> {
        self.repeat(&mut request, async |client, request| {
            let response = client.attempt(request).await?;
            let (status, id) = (response.status(), request_id(&response));
            let bytes = read(response).await?;
            match ErrorBody::late(&bytes) {
                // An operation that takes long begins its answer before it knows whether it succeeds.
                Some(late) => Err(Error::Service {
                    status: late.error.code.status(),
                    error: late.error,
                    request_id: Some(late.request_id).or(id),
                }),
                None if status.is_success() => Ok(bytes),
                None => Err(refusal(status, id, None, &bytes)),
            }
        })
        .await
    }

    /// Sends a request and gives its answer as it comes.
    pub(crate) async fn open(&self, mut request: Request) -> Result<Response<Incoming>> {
        self.repeat(&mut request, async |client, request| client.attempt(request).await).await
    }

    async fn repeat<T>(&self, request: &mut Request, attempt: impl AsyncFn(&Self, &mut Request) -> Result<T>) -> Result<T> {
        let mut count = 0;
        let replayable = !matches!(request.body, Content::Stream(_));
        loop {
            let error = match attempt(self, request).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let pause = self.shared.settings.retries.pause(&error, count, request.idempotent, retry::jitter());
            match pause.filter(|_| replayable) {
                Some(pause) => sleep(pause).await,
                None => return Err(error),
            }
            count += 1;
        }
    }

    /// Posts JSON to a route and answers the status and the body as they come, whatever they are. Sent once, unless no connection was made.
    ///
    /// For protocols that travel in bodies of their own, such as that of `/mcp`.
    pub async fn exchange(&self, path: &str, headers: &[(&'static str, String)], json: Bytes) -> Result<(u16, Bytes)> {
        let mut request = Request::new(Method::POST, path).with_header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.with_header(header::HeaderName::from_static(name), value);
        }
        request.body = Content::Bytes(json);
        self.repeat(&mut request, async |client, request| {
            let response = client.dispatch(request).await?;
            Ok((response.status().as_u16(), read(response).await?))
        })
        .await
    }

    /// Sends a request once. An answer that is not a success is an error.
    async fn attempt(&self, request: &mut Request) -> Result<Response<Incoming>> {
        let response = self.dispatch(request).await?;
        if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let (status, id) = (response.status(), request_id(&response));
        let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = read(response).await.unwrap_or_default();
        Err(refusal(status, id, after, &bytes))
    }

    async fn dispatch(&self, request: &mut Request) -> Result<Response<Incoming>> {
        let shared = &self.shared;
        let mut builder = http::Request::builder().method(request.method.clone()).uri(format!("{}{}", shared.url, request.path));
        builder = builder.header(header::AUTHORIZATION, format!("Bearer {}", shared.key));
        builder = builder.header(header::USER_AGENT, &shared.user_agent);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(tenant) = &shared.settings.tenant {
            builder = builder.header("x-cabana-tenant", tenant);
        }
        let (body, limit) = match std::mem::replace(&mut request.body, Content::None) {
            Content::None => (Body::default(), Some(SILENCE)),
            Content::Bytes(bytes) => {
                request.body = Content::Bytes(bytes.clone());
                (Body::from(bytes), Some(SILENCE))
            }
            // The answer comes after the upload, which takes as long as it takes.
            Content::Stream(stream) => (stream, None),
        };
        let message = builder.body(body).map_err(|error| Error::Invalid(format!("the request cannot be sent: {error}")))?;
        let sending = shared.http.request(message);
        let sent = match limit {
            Some(limit) => timeout(limit, sending).await.map_err(|_| Error::lost("no answer came for a minute"))?,
            None => sending.await,
        };
        sent.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &hyper_util::client::legacy::Error) -> Error {
        if error.is_connect() {
            return Error::Unreachable { url: self.shared.url.clone(), cause: innermost(error).into() };
        }
        Error::lost(innermost(error))
    }
}

/// The cause of all causes: the outer ones say only that something failed.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Reads an answer whole; all of these are small, or bounded by the service.
async fn read(response: Response<Incoming>) -> Result<Bytes> {
    let (mut bytes, mut body) = (Vec::new(), response.into_body());
    while let Some(piece) = next_piece(&mut body).await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

/// The next piece of an answer's body.
pub(crate) async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>> {
    loop {
        let frame = timeout(SILENCE, body.frame()).await.map_err(|_| Error::lost("the answer paused for a minute"))?;
        match frame.transpose().map_err(|error| Error::lost(innermost(&error)))?.map(hyper::body::Frame::into_data) {
            None => return Ok(None),
            Some(Ok(piece)) => return Ok(Some(piece)),
            // Trailers say nothing that is needed here.
            Some(Err(_)) => {}
        }
    }
}

fn request_id(response: &Response<Incoming>) -> Option<String> {
    response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned)
}

/// The error of an answer that is not a success.
fn refusal(status: StatusCode, request_id: Option<String>, retry_after: Option<u64>, body: &[u8]) -> Error {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { mut error, request_id }) => {
            if let (Some(seconds), None) = (retry_after, error.retry_after_ms()) {
                error = error.with_details(serde_json::json!({ "retry_after_ms": seconds * 1_000 }));
            }
            Error::Service { error, status: status.as_u16(), request_id: Some(request_id) }
        }
        // The request was a HEAD, or something on the way has answered in place of the service.
        Err(_) => {
            let code = if status.is_redirection() { Code::AgentUnavailable } else { Code::of_status(status.as_u16()) };
            let mut error =
                cabana_protocol::Error::new(code, format!("the answer was {status}, without an error of the service"));
            // Only the service knows what it has not carried out.
            error.retryable = false;
            Error::Service { error, status: status.as_u16(), request_id }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::refusal;
    use cabana_protocol::Code;
    use http::StatusCode;

    #[test]
    fn errors_of_the_service_are_told_from_those_of_others() {
        let body = br#"{"error":{"code":"container_not_ready","message":"starting","retryable":true},"request_id":"r1"}"#;
        let error = refusal(StatusCode::SERVICE_UNAVAILABLE, Some("r0".to_owned()), Some(2), body);
        assert_eq!((error.code(), error.request_id()), (Some(Code::ContainerNotReady), Some("r1")));
        assert_eq!((error.is_retryable(), error.retry_after().unwrap().as_secs()), (true, 2));
        let error = refusal(StatusCode::SERVICE_UNAVAILABLE, None, None, b"<html>busy</html>");
        assert_eq!((error.code(), error.is_retryable()), (Some(Code::ContainerNotReady), false));
        assert!(error.to_string().contains("503"), "{error}");
        assert_eq!(refusal(StatusCode::FOUND, None, None, b"").code(), Some(Code::AgentUnavailable));
    }
}
