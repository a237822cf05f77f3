//! Frames on their way to the client, in the order in which they were sent.

use std::sync::Arc;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use cabana_protocol::{Error, frame::Reply};
use futures_util::{SinkExt, stream::SplitSink};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::dispatch::{Encoding, encode};

/// Bytes of frames that wait for a slow client, or one larger frame; its operations wait beyond that.
const WAITING_BYTES: usize = 256 << 10;

/// What the smallest frame counts for.
const FRAME_BYTES: usize = 1 << 10;

/// What comes after a payload.
const END: &str = "}";

/// A frame in JSON, and the room that it takes until it is written.
type Waiting = (Utf8Bytes, OwnedSemaphorePermit);

/// The way to the client. What is sent after it is gone is dropped; the reader notices and ends everything.
#[derive(Clone)]
pub(super) struct Frames {
    queue: mpsc::UnboundedSender<Waiting>,
    room: Arc<Semaphore>,
}

/// The other end of it.
pub(super) struct Queue(mpsc::UnboundedReceiver<Waiting>);

impl Frames {
    pub(super) fn new() -> (Self, Queue) {
        let (queue, waiting) = mpsc::unbounded_channel();
        (Self { queue, room: Arc::new(Semaphore::new(WAITING_BYTES)) }, Queue(waiting))
    }

    /// Sends a payload that is JSON already.
    pub(super) async fn send(&self, kind: Reply, id: Option<&str>, payload: &[u8]) {
        if let Ok(frame) = whole(kind, id, payload) {
            self.put(frame.into()).await;
        }
    }

    pub(super) async fn error(&self, id: Option<&str>, error: Error) {
        if let Ok(payload) = encode(&error) {
            self.send(Reply::Error, id, &payload).await;
        }
    }

    /// Sends a whole frame.
    pub(super) async fn put(&self, frame: Bytes) {
        let bytes = u32::try_from(frame.len().clamp(FRAME_BYTES, WAITING_BYTES)).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(bytes).await else { return };
        if let Ok(frame) = frame.try_into() {
            let _ = self.queue.send((frame, room));
        }
    }
}

impl Queue {
    /// Writes frames until there are no more or the client is gone.
    pub(super) async fn write(mut self, mut sink: SplitSink<WebSocket, Message>) {
        while let Some(first) = self.0.recv().await {
            let mut next = Some(first);
            // Those that wait already leave together.
            while let Some((frame, _room)) = next {
                if sink.feed(Message::Text(frame)).await.is_err() {
                    return;
                }
                next = self.0.try_recv().ok();
            }
            if sink.flush().await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    }
}

/// How the events of the operation under this id are encoded: as whole frames.
pub(super) fn events(id: &str) -> Result<Encoding, Error> {
    Ok(Encoding::Frames { before: before(Reply::Event, Some(id))?, after: END })
}

/// A whole frame around a payload that is JSON already.
pub(super) fn whole(kind: Reply, id: Option<&str>, payload: &[u8]) -> Result<Vec<u8>, Error> {
    Ok([before(kind, id)?.as_bytes(), payload, END.as_bytes()].concat())
}

/// What comes before a payload in a [`ServerFrame`](cabana_protocol::frame::ServerFrame), which is so made without parsing the
/// payload again.
fn before(kind: Reply, id: Option<&str>) -> Result<String, Error> {
    let id = id.map(json).transpose()?.map_or(String::new(), |id| format!(",\"id\":{id}"));
    Ok(format!("{{\"type\":{}{id},\"payload\":", json(&kind)?))
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use cabana_protocol::frame::ServerFrame;

    use super::*;

    #[test]
    fn frames_are_what_the_protocol_says() {
        for (kind, id) in [(Reply::Event, Some("a\"b")), (Reply::Ready, None)] {
            let text = String::from_utf8(whole(kind, id, br#"{"x":1}"#).unwrap()).unwrap();
            let frame: ServerFrame = serde_json::from_str(&text).unwrap();
            assert_eq!((frame.kind, frame.id.as_deref(), frame.payload.get()), (kind, id, r#"{"x":1}"#));
            assert_eq!(serde_json::to_string(&frame).unwrap(), text);
        }
    }
}
