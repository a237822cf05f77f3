//! The lines of a streaming operation's answer.

use std::pin::Pin;

use cabana_protocol::{
    Code, Error, Streaming, decode_own,
    error::ErrorBody,
    line::{Line, LineOf},
};
use futures_util::{Stream, StreamExt};
use worker::Response;

/// Longest line, in bytes: longer than any event is.
const MAX_LINE_BYTES: usize = 4 << 20;

/// The media type of such an answer.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// The rest of an operation's answer. Dropping it ends the operation.
pub(crate) struct Lines {
    body: Pin<Box<dyn Stream<Item = worker::Result<Vec<u8>>>>>,
    buffer: Vec<u8>,
}

impl Lines {
    /// The lines of an answer. Fails as the operation does, where the answer is its error.
    pub(crate) async fn of(mut response: Response) -> Result<Self, Error> {
        let status = response.status_code();
        let body = response.stream().map_err(|error| Error::internal(error.to_string()))?;
        let mut lines = Self { body: Box::pin(body), buffer: Vec::new() };
        if status < 400 { Ok(lines) } else { Err(lines.error(status).await) }
    }

    /// The next line; `None` for one that only shows that the agent is there.
    ///
    /// Fails with `interrupted` where there is no more, and nothing has said how it ended.
    pub(crate) async fn next<O: Streaming>(&mut self) -> Result<Option<LineOf<O>>, Error> {
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
        decode_own::<ErrorBody>(&self.buffer).map_or_else(|_| odd(), |body| body.error)
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
