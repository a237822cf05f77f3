//! Answers: JSON, and errors as the one place maps them to HTTP.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cabana_protocol::{
    Error,
    audit::{CODE_HEADER, Outcome, RECEIVED_HEADER, SUMMARY_HEADER},
    error::ErrorBody,
    header::encode,
};
use futures_util::StreamExt;
use serde_json::Value;

/// Longest request id that is taken over from the caller.
const MAX_REQUEST_ID: usize = 64;

/// How much of a refused request is taken in before the connection is closed on it.
const LINGER_BYTES: usize = 64 << 20;

/// How long that may take.
const LINGER_TIME: Duration = Duration::from_secs(5);

/// A failed request.
#[derive(Debug)]
pub(super) struct ErrorResponse(ErrorBody);

impl ErrorResponse {
    /// This error for the request with these headers, whose id it carries.
    pub(super) fn new(headers: &HeaderMap, error: Error) -> Self {
        Self::with_id(request_id(headers), error)
    }

    /// This error for the request of this id.
    pub(super) fn with_id(request_id: String, error: Error) -> Self {
        if error.code == cabana_protocol::Code::Internal {
            tracing::error!("{error}");
        }
        Self(ErrorBody { error, request_id })
    }

    /// Its body alone, for a response whose head has been sent.
    pub(super) fn into_body(self) -> Bytes {
        crate::dispatch::encode_line(&self.0).unwrap_or_default()
    }
}

/// The caller's id of the request, or one of ours where it gave none that is fit for a log.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let fit = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    match headers.get("x-request-id").and_then(|id| id.to_str().ok()).filter(fit) {
        Some(id) => id.to_owned(),
        None => {
            let mut random = [0; 8];
            // Without randomness an id of zeros still says that the caller gave none.
            let _ = getrandom::fill(&mut random);
            format!("{:016x}", u64::from_ne_bytes(random))
        }
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (code, retry_after_ms) = (self.0.error.code, self.0.error.retry_after_ms());
        let methods = self.0.error.details.as_ref().and_then(|details| details.get("allowed_methods")?.as_array());
        let methods = methods.map(|methods| methods.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
        let methods = methods.and_then(|methods| HeaderValue::try_from(methods).ok());
        let mut response = json(self.into_body());
        *response.status_mut() = status;
        if let Ok(code) = Outcome::Failed(code).to_string().try_into() {
            response.headers_mut().insert(CODE_HEADER, code);
        }
        if let Some(methods) = methods {
            response.headers_mut().insert(header::ALLOW, methods);
        }
        if let Some(retry_after_ms) = retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after_ms.div_ceil(1_000).into());
        }
        response
    }
}

/// Takes in what the client is still sending of a request that is refused already: closing on it would reset the connection, and
/// the client, or the Worker on its behalf, would see that instead of the answer.
pub(super) async fn linger(mut rest: BodyDataStream) {
    let mut taken = 0;
    let take = async {
        while let Some(Ok(piece)) = rest.next().await {
            taken += piece.len();
            if taken > LINGER_BYTES {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIME, take).await;
}

/// Adds the audit-summary header, which ends at the Durable Object.
pub(super) fn with_summary(mut response: Response, about: &str) -> Response {
    let encoded = Some(about).filter(|about| !about.is_empty()).and_then(|about| encode(&about).ok()?.try_into().ok());
    if let Some(value) = encoded {
        response.headers_mut().insert(SUMMARY_HEADER, value);
    }
    response
}

/// Adds the header that says how many bytes have come, which ends at the Durable Object.
pub(super) fn with_received(mut response: Response, bytes: u64) -> Response {
    if bytes > 0 {
        response.headers_mut().insert(RECEIVED_HEADER, bytes.into());
    }
    response
}

/// A body that is a line of JSON already.
pub(super) fn json(body: Bytes) -> Response {
    typed("application/json", body.into())
}

/// A body of this media type.
pub(super) fn typed(media_type: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response()
}
