//! What the agent writes to its standard error.

use std::str::FromStr;

use axum::{body::HttpBody, extract::Request, middleware::Next, response::Response};
use tracing::Instrument;

use crate::body::through;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For readers.
    #[default]
    Text,
    /// A JSON object each, for programs.
    Json,
}

impl FromStr for Format {
    type Err = &'static str;

    /// Fails with the words that there are.
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("text or json"),
        }
    }
}

/// Begins to write.
pub fn begin(format: Format) {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false);
    // A line that cannot be written is dropped: to say so on the same standard error would panic.
    let log = log.log_internal_errors(false);
    match format {
        Format::Text => log.init(),
        Format::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
}

/// Names the request in whatever is written while it is answered, to the last byte.
pub async fn name_request(request: Request, next: Next) -> Response {
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    // The Durable Object lets no other through; one that comes from elsewhere is written as a string of JSON, or with its escapes.
    let span = tracing::info_span!("request", request_id = id);
    let response = next.run(request).instrument(span.clone()).await;
    response.map(|body| through(body, move |body, context| span.in_scope(|| body.poll_frame(context))))
}
