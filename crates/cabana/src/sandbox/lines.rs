//! The lines of one operation that the object itself asks of the agent.

use std::{pin::Pin, rc::Rc};

use cabana_protocol::{Code, Error, Streaming, error::ErrorBody, line::Line};
use futures_util::{Stream, StreamExt};
use worker::{Method, Response, web_sys::AbortSignal};

use super::{forward, life::Life};
use crate::{RequestId, handle};

/// Longest line, in bytes: longer than any event is.
const MAX_LINE_BYTES: usize = 4 << 20;

/// The rest of an operation's answer. Dropping it ends the operation.
pub(super) struct Lines {
    body: Pin<Box<dyn Stream<Item = worker::Result<Vec<u8>>>>>,
    buffer: Vec<u8>,
}

impl Lines {
    /// Has the agent begin, waking the sandbox. The operation ends with `caller`, too.
    ///
    /// Fails as the operation does.
    pub(super) async fn start<O: Streaming>(
        life: &Rc<Life>,
        operation: &O,
        caller: &AbortSignal,
        request_id: &RequestId,
    ) -> Result<Self, Error> {
        let path = format!("/v1/{}", O::NAME.replace('.', "/"));
        let request = handle::request(Method::Post, &path, Some(operation))?;
        request.headers().set("accept", "application/x-ndjson").map_err(internal)?;
        let request = forward::cancellable(request.inner(), caller).map_err(internal)?;
        let response = forward::forward(life, &request.into(), request_id).await?;
        let status = response.status_code();
        let mut lines = Self::of(response)?;
        if status < 400 { Ok(lines) } else { Err(lines.error(status).await) }
    }

    fn of(mut response: Response) -> Result<Self, Error> {
        let body = response.stream().map_err(internal)?;
        Ok(Self { body: Box::pin(body), buffer: Vec::new() })
    }

    /// The next line; `None` for one that only shows that the agent is there.
    ///
    /// Fails with `interrupted` where there is no more, and nothing has said how it ended.
    pub(super) async fn next<O: Streaming>(&mut self) -> Result<Option<Line<O::Event, O::Response>>, Error> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.buffer.drain(..=end).collect();
                let line = line.trim_ascii();
                let odd = |_| Error::new(Code::AgentUnavailable, "the agent's answer cannot be understood");
                return if line.is_empty() { Ok(None) } else { Line::decode(line).map(Some).map_err(odd) };
            }
            if !self.read().await? {
                return Err(Error::new(Code::Interrupted, "the connection to the sandbox broke"));
            }
        }
    }

    /// The error of an answer that is one.
    async fn error(&mut self, status: u16) -> Error {
        while let Ok(true) = self.read().await {}
        let odd = || Error::new(Code::AgentUnavailable, format!("the agent answered {status} without an error of ours"));
        serde_json::from_slice::<ErrorBody>(&self.buffer).map_or_else(|_| odd(), |body| body.error)
    }

    /// Reads on; false at the end.
    async fn read(&mut self) -> Result<bool, Error> {
        let Some(piece) = self.body.next().await else { return Ok(false) };
        let broken = |_| Error::new(Code::Interrupted, "the connection to the sandbox broke");
        self.buffer.extend(piece.map_err(broken)?);
        if self.buffer.len() > MAX_LINE_BYTES {
            return Err(Error::new(Code::AgentUnavailable, "the agent's answer has no end"));
        }
        Ok(true)
    }
}

fn internal(error: worker::Error) -> Error {
    Error::internal(error.to_string())
}
