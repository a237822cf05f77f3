//! Errors as Docker's clients read them: a status, and `{"message": …}`.

use std::error::Error;

use hyper::StatusCode;

use crate::container::spec::SpecError;
use crate::engine::EngineError;
use crate::faults::InjectedError;
use crate::http::{self, Response};
use crate::image::dockerfile::DockerfileError;

/// A response to a request that failed.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(super) fn into_response(self) -> Response {
        if self.status == StatusCode::NOT_MODIFIED {
            return http::empty(self.status);
        }
        if self.status.is_server_error() {
            tracing::warn!(status = self.status.as_u16(), "{}", self.message);
        }
        http::json(self.status, &serde_json::json!({ "message": self.message }))
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let status = match &error {
            EngineError::NoSuchImage(_) | EngineError::NoSuchContainer(_) => StatusCode::NOT_FOUND,
            EngineError::NameInUse(_) | EngineError::NotRunning(_) | EngineError::Running(_) => StatusCode::CONFLICT,
            EngineError::NoChanges(_) => StatusCode::NOT_IMPLEMENTED,
            EngineError::LayersFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
            EngineError::UploadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            EngineError::BadName(_) => StatusCode::BAD_REQUEST,
            EngineError::AlreadyStarted => StatusCode::NOT_MODIFIED,
            EngineError::Closing => StatusCode::SERVICE_UNAVAILABLE,
            EngineError::Upload(_)
            | EngineError::Launch(_)
            | EngineError::Sidecar(_)
            | EngineError::Network(_)
            | EngineError::Commit(_)
            | EngineError::Cgroup(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, chain(&error))
    }
}

impl From<InjectedError> for ApiError {
    fn from(error: InjectedError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<SpecError> for ApiError {
    fn from(error: SpecError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<DockerfileError> for ApiError {
    fn from(error: DockerfileError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// The error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
