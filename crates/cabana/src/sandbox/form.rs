//! How a stream is told: as lines, or as server-sent events.

use cabana_protocol::Error;
use futures_util::TryStream;
use worker::{Request, Response};

use crate::{RequestId, reply, request_id};

/// The form of an answer that may be a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One JSON value.
    Json,
    /// One JSON value a line.
    Ndjson,
    /// Server-sent events.
    Sse,
}

impl Form {
    /// Those of them that the caller accepts, in its order.
    pub(super) fn accepted(request: &Request) -> impl Iterator<Item = Self> + use<> {
        let accept = request.headers().get("accept").ok().flatten().unwrap_or_default();
        accept.split(',').filter_map(Self::of).collect::<Vec<_>>().into_iter()
    }

    fn of(media_range: &str) -> Option<Self> {
        match media_range.split(';').next().map(str::trim) {
            Some("application/x-ndjson") => Some(Self::Ndjson),
            Some("text/event-stream") => Some(Self::Sse),
            Some("application/json") => Some(Self::Json),
            _ => None,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Sse => "text/event-stream",
        }
    }

    /// A line as it goes out.
    pub(super) fn frame(self, line: &[u8]) -> Vec<u8> {
        match self {
            Self::Sse => [b"data: ", line, b"\n\n"].concat(),
            Self::Json | Self::Ndjson => [line, b"\n"].concat(),
        }
    }

    /// What says nothing, and shows that the connection is alive.
    pub(super) fn silence(self) -> &'static [u8] {
        if self == Self::Sse { b":\n\n" } else { b"\n" }
    }

    /// A streamed answer.
    pub(super) fn respond<S>(self, body: S, request_id: &RequestId) -> Result<Response, Error>
    where
        S: TryStream<Ok = Vec<u8>, Error = worker::Error> + 'static,
    {
        let response = Response::from_stream(body).map_err(|error| Error::internal(error.to_string()))?;
        let headers =
            [("content-type", self.media_type()), ("cache-control", "no-store"), (request_id::HEADER, request_id.as_str())];
        Ok(headers.into_iter().fold(response, |response, (name, value)| reply::with_header(response, name, value)))
    }
}
