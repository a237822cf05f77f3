//! Streams of one operation: the form in which one goes out, and the lines of one that the object itself asks of the agent.

use std::rc::Rc;

use cabana_protocol::{Error, Streaming};
use futures_util::TryStream;
use worker::{Method, Request, Response, web_sys::AbortSignal};

use super::{forward, runtime::Supervisor};
use crate::{
    RequestId,
    handle::{Lines, NDJSON},
    reply, request_id, wire,
};

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
            Some(NDJSON) => Some(Self::Ndjson),
            Some("text/event-stream") => Some(Self::Sse),
            Some("application/json") => Some(Self::Json),
            _ => None,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => NDJSON,
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

/// Has the agent begin, waking the sandbox. The operation ends with `caller`, too.
///
/// Fails as the operation does.
pub(super) async fn open_lines<O: Streaming>(
    supervisor: &Rc<Supervisor>,
    operation: &O,
    caller: &AbortSignal,
    request_id: &RequestId,
) -> Result<Lines, Error> {
    let path = format!("/v1/{}", O::NAME.replace('.', "/"));
    let request = wire::request(Method::Post, &path, Some(operation))?;
    request.headers().set("accept", NDJSON).map_err(internal)?;
    let request = wire::cancellable(request.inner(), caller).map_err(internal)?;
    Lines::of(forward::forward(supervisor, &request.into(), None, request_id).await?).await
}

fn internal(error: worker::Error) -> Error {
    Error::internal(error.to_string())
}
