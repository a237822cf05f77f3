//! Responses of our own making: JSON, and the coded error.

use cabana_protocol::{Code, Error, error::ErrorBody};
use serde::Serialize;
use worker::{Response, ResponseBuilder};

use crate::{RequestId, log, request_id};

/// A JSON response.
pub fn json(status: u16, value: &impl Serialize, request_id: &RequestId) -> Response {
    let mut body = serde_json::to_vec(value).expect("what we answer with has string keys and no failing serialisers");
    body.push(b'\n');
    let response = ResponseBuilder::new().with_status(status).fixed(body);
    // Whatever a caller has put into a path or a name comes back as data, in no browser as a page.
    [("content-type", "application/json"), ("x-content-type-options", "nosniff"), (request_id::HEADER, request_id.as_str())]
        .into_iter()
        .fold(response, |response, (name, value)| with_header(response, name, value))
}

/// A JSON response that is written already.
pub(crate) fn raw_json(text: &str, request_id: &RequestId) -> Response {
    let response = ResponseBuilder::new().fixed([text, "\n"].concat().into_bytes());
    with_header(with_header(response, "content-type", "application/json"), request_id::HEADER, request_id.as_str())
}

/// A text of this media type.
pub(crate) fn text(media_type: &str, text: String, request_id: &RequestId) -> Response {
    let response = ResponseBuilder::new().with_status(200).fixed(text.into_bytes());
    with_header(with_header(response, "content-type", media_type), request_id::HEADER, request_id.as_str())
}

/// The response for an error: its status, its body, and the headers that belong to it.
pub fn error(error: &Error, request_id: &RequestId) -> Response {
    if error.code == Code::Internal {
        log::error(Some(request_id.as_str()), &error.message);
    }
    let body = ErrorBody { error: shown(error), request_id: request_id.to_string() };
    let mut response = json(error.code.status(), &body, request_id);
    if let Some(milliseconds) = error.retry_after_ms() {
        response = with_header(response, "retry-after", &milliseconds.div_ceil(1_000).max(1).to_string());
    }
    if error.code == Code::Unauthorized {
        response = with_header(response, "www-authenticate", "Bearer");
    }
    if let Some(methods) = error.details.as_ref().and_then(|details| details.get("allowed_methods")?.as_array().cloned()) {
        let methods: Vec<_> = methods.iter().filter_map(|method| method.as_str()).collect();
        response = with_header(response, "allow", &methods.join(", "));
    }
    response
}

/// The error as callers see it. What went wrong inside is for the log: it may quote the storage or the runtime.
fn shown(error: &Error) -> Error {
    match error.code {
        Code::Internal => Error::internal("internal error: the service's log has its cause under this request's id"),
        _ => error.clone(),
    }
}

/// A response without a body.
pub fn empty(request_id: &RequestId) -> Response {
    with_header(ResponseBuilder::new().with_status(204).empty(), request_id::HEADER, request_id.as_str())
}

/// The same response with one header set; one that the runtime does not take is left out. The body stays the stream it is.
pub fn with_header(response: Response, name: &str, value: &str) -> Response {
    // The headers of a response that was fetched cannot be changed, so they are copied.
    let headers = response.headers().clone();
    if let Err(error) = headers.set(name, value) {
        log::warn(None, &format!("the header {name} was refused: {error}"));
    }
    response.with_headers(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_of_internal_errors_are_not_shown() {
        let internal = Error::internal("the sandbox's storage failed: no such table: secret");
        assert!(!shown(&internal).message.contains("table") && shown(&internal).code == Code::Internal);
        let other = Error::not_found("there is no such key");
        assert_eq!(shown(&other), other);
    }
}
