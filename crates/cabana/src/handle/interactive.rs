//! A streaming operation that is told things while it runs, over a WebSocket of its own.

use cabana_protocol::{
    Code, Error as CodedError, Fold, Streaming, decode_own,
    frame::{CANCEL, INPUT, Reply, ServerFrame, close},
};
use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use futures_util::StreamExt;
use serde::Serialize;
use worker::{Method, WebSocket, WebsocketEvent, wasm_bindgen_futures::spawn_local};

use super::Handle;
use crate::{
    Error, Result,
    wire::{self, CONNECT_PATH},
};

/// The name of the one operation on the socket.
const ID: &str = "1";

/// A frame of the client.
#[derive(Serialize)]
struct Frame<'a, P> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<P>,
}

/// A streaming operation that listens: its events, and what it is told. A cell of code waits for a line of text, a command reads its stdin as it is
/// typed, a connection to a port goes both ways.
///
/// Dropping it ends the operation, with everything that it started. It ends with its connection, too: [`Running`](super::Running), which is not
/// told anything but by requests of their own, goes on where it was.
///
/// ```
/// # use cabana::{Result, Sandbox, protocol::code::{Run, RunEvent, RunInput}};
/// # async fn example(env: &worker::Env) -> Result<()> {
/// let mut cell = Sandbox::get(env, "my-id")?.interact(Run::new("input()")).await?;
/// while let Some(event) = cell.next().await? {
///     if let RunEvent::InputRequest { .. } = event {
///         cell.input(&RunInput::Reply { text: "Ada".to_owned() })?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Interactive<O: Streaming> {
    operation: O,
    socket: WebSocket,
    frames: UnboundedReceiver<Received>,
    response: Option<O::Response>,
    has_ended: bool,
}

/// What comes over the socket.
enum Received {
    Frame(String),
    /// The code of its end.
    End(u16),
}

impl<O: Streaming> std::fmt::Debug for Interactive<O> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Interactive")
            .field("operation", &O::NAME)
            .field("has_ended", &self.has_ended)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Starts a streaming operation that is told things while it runs. Dropping the answer ends the operation.
    ///
    /// Fails where there is no socket to be had; what the operation itself fails with comes with its first event.
    pub async fn interact<O: Streaming>(&self, operation: O) -> Result<Interactive<O>> {
        let request = wire::request(Method::Get, CONNECT_PATH, None::<&()>)?;
        request.headers().set("upgrade", "websocket")?;
        let response = super::check(self.reach(request).await?).await?;
        let missing = || Error::new(Code::AgentUnavailable, "the sandbox's object did not open a socket");
        let socket = response.websocket().ok_or_else(missing)?;
        let frames = listen(socket.clone());
        socket.accept()?;
        let interactive = Interactive { operation, socket, frames, response: None, has_ended: false };
        interactive.send(O::NAME, Some(&interactive.operation))?;
        Ok(interactive)
    }
}

/// What comes over a socket, from now on. Nothing more is kept once the answer is dropped.
fn listen(socket: WebSocket) -> UnboundedReceiver<Received> {
    let (sender, receiver) = unbounded();
    // The listeners are there when this has been polled once, which happens before the socket's first event.
    spawn_local(async move {
        let Ok(mut events) = socket.events() else { return };
        while let Some(event) = events.next().await {
            let received = match event {
                Ok(WebsocketEvent::Message(message)) => message.text().map(Received::Frame),
                Ok(WebsocketEvent::Close(end)) => Some(Received::End(end.code())),
                Err(_) => Some(Received::End(close::RECONNECT)),
            };
            if received.is_some_and(|received| sender.unbounded_send(received).is_err()) {
                return;
            }
        }
    });
    receiver
}

impl<O: Streaming> Interactive<O> {
    /// The next event; `None` once it has ended, and [`Self::result`] answers at once.
    pub async fn next(&mut self) -> Result<Option<O::Event>> {
        while !self.has_ended {
            let text = match self.frames.next().await {
                Some(Received::Frame(text)) => text,
                Some(Received::End(code)) => return Err(self.lost(code)),
                None => return Err(self.lost(close::RECONNECT)),
            };
            let odd = |_| Error::new(Code::AgentUnavailable, "the sandbox's answer cannot be understood");
            let frame: ServerFrame<'_> = serde_json::from_str(&text).map_err(|error| odd(error.to_string()))?;
            let payload = frame.payload.get().as_bytes();
            match frame.kind {
                Reply::Ready | Reply::Pong => {}
                Reply::Event => return Ok(Some(decode_own(payload).map_err(|error| odd(error.to_string()))?)),
                Reply::Result => {
                    self.has_ended = true;
                    self.response = Some(decode_own(payload).map_err(|error| odd(error.to_string()))?);
                }
                Reply::Error => {
                    self.has_ended = true;
                    let error: CodedError = decode_own(payload).map_err(|error| odd(error.to_string()))?;
                    return Err(error.into());
                }
            }
        }
        Ok(None)
    }

    /// Passes over the events that are left, and answers the response.
    pub async fn result(mut self) -> Result<O::Response> {
        while self.next().await?.is_some() {}
        self.end()
    }

    /// Gathers the events that are left, and answers them with the response as one value of bounded size.
    pub async fn output(mut self) -> Result<<O::Fold as Fold<O>>::Output> {
        let mut fold = O::Fold::new(&self.operation);
        while let Some(event) = self.next().await? {
            fold.push(event);
        }
        Ok(fold.finish(self.end()?))
    }

    /// Tells it something. An input that it does not take is its error, which ends it.
    ///
    /// Fails where the socket has ended.
    pub fn input(&self, input: &O::Input) -> Result<()> {
        self.send(INPUT, Some(input))
    }

    /// Ends it. A command ends with all that it has started, and its result says so; any other operation ends with `interrupted`.
    pub fn cancel(&self) -> Result<()> {
        self.send(CANCEL, None::<&()>)
    }

    fn end(&mut self) -> Result<O::Response> {
        self.response.take().ok_or_else(|| Error::new(Code::Interrupted, "the operation has ended without a result"))
    }

    fn lost(&mut self, code: u16) -> Error {
        self.has_ended = true;
        match code {
            close::UNAUTHORIZED => Error::new(Code::Unauthorized, "the credentials ended or were revoked"),
            close::DESTROYED => Error::new(Code::NotFound, "the sandbox was destroyed"),
            _ => Error::new(Code::Interrupted, "the connection to the sandbox broke"),
        }
    }

    fn send(&self, kind: &str, payload: Option<impl Serialize>) -> Result<()> {
        Ok(self.socket.send(&Frame { kind, id: ID, payload })?)
    }
}

impl<O: Streaming> Drop for Interactive<O> {
    fn drop(&mut self) {
        // It may have ended already. Whatever runs on it ends with it.
        let _ = self.socket.close(Some(1000), None::<&str>);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_what_the_socket_takes() {
        let frame = |payload| serde_json::to_string(&Frame { kind: INPUT, id: ID, payload }).unwrap();
        assert_eq!(frame(Some("x")), r#"{"type":"input","id":"1","payload":"x"}"#);
        assert_eq!(frame(None), r#"{"type":"input","id":"1"}"#);
    }
}
