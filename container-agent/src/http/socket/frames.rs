//! Frames on their way to the client, in the order in which they were sent.

use std::sync::Arc;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use cabana_protocol::{
    Error,
    frame::{Reply, binary},
};
use futures_util::{SinkExt, stream::SplitSink};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::window::Window;

use crate::dispatch::{Answered, Encoding, encode};

/// Bytes of frames that wait for a slow client, or one larger frame; its operations wait beyond that.
const WAITING_BYTES: usize = 256 << 10;

/// What the smallest frame counts for.
const FRAME_BYTES: usize = 1 << 10;

/// What comes after a payload.
const END: &str = "}";

/// A frame, and the room that it takes until it is written, if that is what gives room.
type Waiting = (Message, Option<OwnedSemaphorePermit>);

/// The way to the client. What is sent after it is gone is dropped; the reader notices and ends everything.
#[derive(Clone)]
pub(super) struct Frames {
    queue: mpsc::UnboundedSender<Waiting>,
    room: Room,
    /// What comes before each frame.
    prefix: Arc<str>,
}

/// What the frames of one client wait for, so that those which nobody takes are bounded in bytes.
#[derive(Clone)]
enum Room {
    /// Earlier frames are written.
    Written(Arc<Semaphore>),
    /// Earlier frames are taken by a client behind the link.
    Taken(Window),
}

/// The other end of it.
pub(super) struct Queue(mpsc::UnboundedReceiver<Waiting>);

impl Frames {
    pub(super) fn new() -> (Self, Queue) {
        let (queue, waiting) = mpsc::unbounded_channel();
        let room = Room::Written(Arc::new(Semaphore::new(WAITING_BYTES)));
        (Self { queue, room, prefix: "".into() }, Queue(waiting))
    }

    /// The way to a client behind the link that this is the way to.
    pub(super) fn to_client(&self, client: u64, window: Window) -> Self {
        Self { queue: self.queue.clone(), room: Room::Taken(window), prefix: format!("{client} ").into() }
    }

    /// Sends a payload that is JSON already.
    pub(super) async fn send(&self, kind: Reply, id: Option<&str>, payload: &[u8]) {
        if let Ok(frame) = whole(kind, id, payload) {
            self.put(text([self.prefix.as_bytes(), &frame].concat())).await;
        }
    }

    /// Sends a response: in a binary frame where it has bytes beside it.
    pub(super) async fn result(&self, id: &str, Answered { json, bytes }: &Answered) {
        let Some(bytes) = bytes else { return self.send(Reply::Result, Some(id), json).await };
        let Ok(head) = whole(Reply::Result, Some(id), json) else { return };
        if let Some(length) = binary::length(head.len()) {
            self.put(Some(Message::Binary([self.prefix.as_bytes(), &length, &head, bytes].concat().into()))).await;
        }
    }

    /// Tells the object at the other end of the link what the operation under this id is about. No client hears of it.
    pub(super) fn about(&self, id: &str, summary: &str) {
        if let (Room::Taken(_), Ok(id), false) = (&self.room, json(id), summary.is_empty()) {
            self.push(Message::text(format!("{}#{id} {summary}", self.prefix)), None);
        }
    }

    pub(super) async fn error(&self, id: Option<&str>, error: Error) {
        if let Ok(payload) = encode(&error) {
            self.send(Reply::Error, id, &payload).await;
        }
    }

    /// How the events of the operation under this id are encoded, prefix included.
    pub(super) fn events(&self, id: &str, binary: bool) -> Result<Encoding, Error> {
        let before = format!("{}{}", self.prefix, before(Reply::Event, Some(id))?);
        Ok(Encoding::Frames { before, after: END, binary: binary.then_some(self.prefix.len()) })
    }

    /// Sends an event. Of an operation that is cancelled, the last ones do not wait until earlier ones are taken: it could not end
    /// before. They are no more than what it had in its buffers.
    pub(super) async fn event(&self, frame: Option<Message>, cancelled: &CancellationToken) {
        let Some(frame) = frame else { return };
        let waits = self.room(&frame);
        if let Some(room) = cancelled.run_until_cancelled(waits).await.unwrap_or(Some(None)) {
            self.push(frame, room);
        }
    }

    /// Sends a whole frame, prefix included.
    pub(super) async fn put(&self, frame: Option<Message>) {
        let Some(frame) = frame else { return };
        if let Some(room) = self.room(&frame).await {
            self.push(frame, room);
        }
    }

    /// Waits for room; `None` when nobody gives any more.
    async fn room(&self, frame: &Message) -> Option<Option<OwnedSemaphorePermit>> {
        let length = match frame {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => 0,
        };
        match &self.room {
            Room::Written(room) => {
                let bytes = u32::try_from(length.clamp(FRAME_BYTES, WAITING_BYTES)).unwrap_or(u32::MAX);
                Arc::clone(room).acquire_many_owned(bytes).await.ok().map(Some)
            }
            Room::Taken(window) => window.wait(length - self.prefix.len()).await.then_some(None),
        }
    }

    fn push(&self, frame: Message, room: Option<OwnedSemaphorePermit>) {
        let _ = self.queue.send((frame, room));
    }
}

impl Queue {
    /// Writes frames until there are no more or the client is gone.
    pub(super) async fn write(mut self, mut sink: SplitSink<WebSocket, Message>) {
        while let Some(first) = self.0.recv().await {
            let mut next = Some(first);
            // Those that wait already leave together.
            while let Some((frame, _room)) = next {
                if sink.feed(frame).await.is_err() {
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

/// What is sent as text. `None` where it is none, which JSON always is.
pub(super) fn text(frame: impl Into<Bytes>) -> Option<Message> {
    Utf8Bytes::try_from(frame.into()).ok().map(Message::Text)
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
