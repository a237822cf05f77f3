//! `GET /v1/connect`: operations over a WebSocket, many at once, each under the client's id.
//!
//! One task reads the socket and owns the operations; one writes. The reader never waits for an operation, so that it sees a
//! cancel or the end of the connection at once. Closing the socket ends every operation that runs on it.
//!
//! A socket belongs to one client ([`connection`]), or is the link to a Durable Object with many clients behind it ([`link`]).

mod connection;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod link;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, HeaderValue, Uri},
    response::Response,
};
use cabana_protocol::{
    Error,
    frame::binary::{self, Raw},
    link::SUBPROTOCOL as LINK,
};
use futures_util::{StreamExt, stream::SplitStream};
use tokio::{task::JoinHandle, time::timeout};

use super::answer::ErrorResponse;
use crate::{Agent, connections::ConnectionPermit};
use connection::Connection;
use frames::Frames;

/// Bytes read from a socket at a time, which it holds even while it is idle.
const READ_BYTES: usize = 16 << 10;

/// Bytes of small frames that are written together.
const WRITE_BYTES: usize = 16 << 10;

/// What a socket holds while it is idle, its task included.
const SOCKET_BYTES: usize = READ_BYTES + WRITE_BYTES + (8 << 10);

/// How long a client may take to read the last frames.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// The subprotocol that is answered to a client that offers it.
const SUBPROTOCOL: &str = "cabana";

pub(super) async fn connect(
    State(agent): State<Agent>,
    Extension(permit): Extension<Option<Arc<ConnectionPermit>>>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ErrorResponse> {
    let refused = |rejection: WebSocketUpgradeRejection| {
        ErrorResponse::new(&headers, Error::invalid_request(format!("not a WebSocket: {}", rejection.body_text())))
    };
    let binary = binary::asked_for(uri.query().unwrap_or_default()).map_err(|error| ErrorResponse::new(&headers, error))?;
    let held = agent.memory.hold(SOCKET_BYTES).map_err(|error| ErrorResponse::new(&headers, error))?;
    // A message somewhat over the limit is answered; one far over it is not read, and ends the socket.
    let most = 2 * agent.limits.request_bytes;
    let upgrade = upgrade.map_err(refused)?.protocols([LINK, SUBPROTOCOL]).max_message_size(most).max_frame_size(most);
    let upgrade = upgrade.read_buffer_size(READ_BYTES).write_buffer_size(WRITE_BYTES);
    let link = upgrade.selected_protocol() == Some(&HeaderValue::from_static(LINK));
    Ok(upgrade.on_upgrade(move |socket| async move {
        let (sink, messages) = socket.split();
        let (frames, queue) = Frames::new();
        let writer = tokio::spawn(queue.write(sink));
        if link {
            link::converse(agent, frames, messages, writer).await;
        } else {
            converse(Connection::new(agent, frames, binary, None), messages, writer).await;
        }
        drop((permit, held));
    }))
}

/// What a socket says.
type Messages = SplitStream<WebSocket>;

async fn converse(mut connection: Connection, mut messages: Messages, mut writer: JoinHandle<()>) {
    let closing = connection.agent.closing.clone();
    connection.greet().await;
    let written = loop {
        tokio::select! {
            message = messages.next(), if !connection.is_overloaded() => match message {
                Some(Ok(Message::Text(text))) => connection.receive(Raw::Text(&text)),
                Some(Ok(Message::Binary(frame))) => connection.receive(Raw::Binary(&frame)),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => break false,
            },
            Some(_) = connection.tasks.join_next() => {}
            _ = &mut writer => break true,
            () = closing.cancelled() => break false,
        }
    };
    // Ends the operations; the writer ends when nobody can give it frames, or when the client does not take the last ones.
    drop(connection);
    if !written {
        finish(writer).await;
    }
}

/// Lets the last frames be written, once nobody can send more.
async fn finish(mut writer: JoinHandle<()>) {
    if timeout(LAST_FRAMES, &mut writer).await.is_err() {
        writer.abort();
    }
}
