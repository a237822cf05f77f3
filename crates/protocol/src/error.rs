//! The coded error, the same from every hop.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Why a request failed. A code exists only where a caller would act differently on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// 400: the request cannot be understood, or a field's value is not allowed.
    InvalidRequest,
    /// 401: no valid credentials.
    Unauthorized,
    /// 403: the credentials, or the sandbox's roots, do not reach this.
    Forbidden,
    /// 404: no such sandbox, operation, file or process.
    NotFound,
    /// 405: the route exists and does not take this method; `Allow` names those that it takes.
    MethodNotAllowed,
    /// 409: the present state does not allow it, for instance because something is in the way.
    Conflict,
    /// 409: the connection broke after the request was admitted; it may have been carried out.
    Interrupted,
    /// 410: it existed and never will again.
    Gone,
    /// 412: the file is not the one the caller named by its ETag.
    PreconditionFailed,
    /// 413: larger than the limit that the message names.
    PayloadTooLarge,
    /// 415: the body is in an encoding that the route does not take.
    UnsupportedMediaType,
    /// 416: the range begins behind the end of the file; `details.size_bytes` says where that is.
    RangeNotSatisfiable,
    /// 422: understood, but this command or content cannot be used.
    Unprocessable,
    /// 429: a limit is reached; try again later.
    TooManyRequests,
    /// 500: a defect of ours.
    Internal,
    /// 501: this deployment cannot do that.
    NotImplemented,
    /// 502: the agent in the container did not answer as it should.
    AgentUnavailable,
    /// 503: the service lacks what it needs to let anyone in: it has not been configured, or its database does not answer.
    Unavailable,
    /// 503: the container is not up; the request was not admitted, so it is safe to repeat.
    ContainerNotReady,
    /// 504: not finished within its time.
    Timeout,
    /// 507: the sandbox's disk is full.
    StorageFull,
}

impl Code {
    /// The HTTP status that carries the code.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict | Self::Interrupted => 409,
            Self::Gone => 410,
            Self::PreconditionFailed => 412,
            Self::PayloadTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::RangeNotSatisfiable => 416,
            Self::Unprocessable => 422,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::NotImplemented => 501,
            Self::AgentUnavailable => 502,
            Self::Unavailable | Self::ContainerNotReady => 503,
            Self::Timeout => 504,
            Self::StorageFull => 507,
        }
    }

    /// The code of a status, for answers that do not name it; the first of several, and what is no code's is for the sender to explain.
    pub fn of_status(status: u16) -> Self {
        match status {
            400 => Self::InvalidRequest,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            409 => Self::Conflict,
            410 => Self::Gone,
            412 => Self::PreconditionFailed,
            413 => Self::PayloadTooLarge,
            415 => Self::UnsupportedMediaType,
            416 => Self::RangeNotSatisfiable,
            429 => Self::TooManyRequests,
            500 => Self::Internal,
            501 => Self::NotImplemented,
            503 => Self::ContainerNotReady,
            504 => Self::Timeout,
            507 => Self::StorageFull,
            other if other < 500 => Self::Unprocessable,
            _ => Self::AgentUnavailable,
        }
    }

    /// True when the same request may succeed later and was not carried out now.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::TooManyRequests | Self::Unavailable | Self::ContainerNotReady)
    }
}

/// A failed request, as every hop reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Error {
    /// What to act on.
    pub code: Code,
    /// What to read: one sentence, without secrets.
    pub message: String,
    /// Whether repeating the same request later is safe and may help.
    #[serde(default)]
    pub retryable: bool,
    /// Facts for programs, by code: `reason`, `retry_after_ms`, `limit_bytes`, `path` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl Error {
    /// An error with this code and message. `too_many_requests` asks for a repeat after a second.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let error = Self { code, message: message.into(), retryable: code.retryable(), details: None };
        match code {
            Code::TooManyRequests => error.with_details(json!({ "retry_after_ms": 1_000 })),
            _ => error,
        }
    }

    /// Adds facts for programs to those that are there; `details` is a JSON object.
    pub fn with_details(mut self, details: Value) -> Self {
        match (&mut self.details, details) {
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
            (known, details) => *known = Some(details),
        }
        self
    }

    /// Says to programs why, where one code has several causes: `details.reason`, a word.
    pub fn because(self, reason: &str) -> Self {
        self.with_details(json!({ "reason": reason }))
    }

    /// Says to programs which field has a value that it does not take.
    pub fn of_field(self, field: &str) -> Self {
        self.with_details(json!({ "reason": "invalid_field", "field": field }))
    }

    /// Shorthand for [`Code::InvalidRequest`].
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, message)
    }

    /// Shorthand for [`Code::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// Shorthand for [`Code::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// How long to wait before a repeat, in milliseconds, where the sender said so.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.details.as_ref()?.get("retry_after_ms")?.as_u64()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The body of a failed HTTP request. Of an operation that has been answered with blanks for a while, and so with status 200, it may be
/// the body as well: no response has both fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// What went wrong.
    pub error: Error,
    /// Names the request in the logs of every hop.
    pub request_id: String,
}

impl ErrorBody {
    /// The failure that a body of status 200 ends with, if it does.
    pub fn late(body: &[u8]) -> Option<Self> {
        // Only an operation that took long begins with blanks; no other body is parsed.
        body.first().filter(|byte| byte.is_ascii_whitespace())?;
        crate::decode_own(body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_failure_is_told_from_a_response() {
        let body = ErrorBody { error: Error::not_found("no"), request_id: "r".to_owned() };
        let json = serde_json::to_string(&body).unwrap();
        assert_eq!(ErrorBody::late(format!("  {json}").as_bytes()), Some(body));
        for other in [&*json, r#" {"exit":null}"#, r#" {"error":{"name":"x"},"request_id":"r"}"#, " ", ""] {
            assert_eq!(ErrorBody::late(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn facts_are_added() {
        let error =
            Error::new(Code::TooManyRequests, "full").with_details(json!({ "limit": 2 })).with_details(json!({ "id": "a" }));
        assert_eq!(error.details, Some(json!({ "retry_after_ms": 1_000, "limit": 2, "id": "a" })));
        assert_eq!((error.retryable, error.retry_after_ms()), (true, Some(1_000)));
        assert_eq!(Error::not_found("gone").details, None);
    }
}
