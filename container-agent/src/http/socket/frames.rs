//! Frames on their way to a client, in the order in which they were sent.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use cabana_protocol::{
    Error,
    frame::{Reply, binary},
    link::{WINDOW_BYTES, cost},
};
use futures_util::{SinkExt, stream::SplitSink};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::dispatch::{Encoding, RawResponse, encode};

/// Bytes of frames that wait for a slow client, or one larger frame; its operations wait beyond that.
const WAITING_BYTES: usize = 256 << 10;

/// Bytes of the frames of all clients behind a link that wait to be written to it, or one larger frame. However many clients there are,
/// an object that stops reading holds up what runs for them.
const LINK_BYTES: usize = 1 << 20;

/// What the smallest frame counts for.
const FRAME_BYTES: usize = 1 << 10;

/// What comes after a payload.
const END: &str = "}";

/// A frame, and the room that it takes until it is written, if writing gives room.
type Waiting = (Message, Option<OwnedSemaphorePermit>);

/// Sends frames to a client. What is sent after the client has gone is dropped; the socket's reader notices and ends everything.
#[derive(Clone)]
pub(super) struct Frames {
    queue: mpsc::UnboundedSender<Waiting>,
    room: Room,
    /// The room that clients behind this way share, where it is a link.
    link: Arc<Semaphore>,
    /// What comes before each frame.
    prefix: Arc<str>,
}

/// What the frames of one client wait for, so that unread ones are bounded in bytes.
#[derive(Clone)]
enum Room {
    /// Earlier frames are written.
    Written(Arc<Semaphore>),
    /// Earlier frames are taken by a client behind the link, and those of all its clients are written.
    Taken { window: Window, written: Arc<Semaphore> },
}

/// The other end of it.
pub(super) struct Queue(mpsc::UnboundedReceiver<Waiting>);

impl Frames {
    pub(super) fn new() -> (Self, Queue) {
        let (queue, waiting) = mpsc::unbounded_channel();
        let room = Room::Written(Arc::new(Semaphore::new(WAITING_BYTES)));
        (Self { queue, room, link: Arc::new(Semaphore::new(LINK_BYTES)), prefix: "".into() }, Queue(waiting))
    }

    /// The way to a client behind the link that this is the way to.
    pub(super) fn to_client(&self, client: u64, window: Window) -> Self {
        let (queue, link) = (self.queue.clone(), Arc::clone(&self.link));
        let room = Room::Taken { window, written: Arc::clone(&link) };
        Self { queue, room, link, prefix: format!("{client} ").into() }
    }

    /// Sends a payload that is JSON already.
    pub(super) async fn send(&self, kind: Reply, id: Option<&str>, payload: &[u8]) {
        if let Ok(frame) = whole(kind, id, payload) {
            self.put(text([self.prefix.as_bytes(), &frame].concat())).await;
        }
    }

    /// Sends a response: in a binary frame where it has bytes beside it.
    pub(super) async fn result(&self, id: &str, RawResponse { line, bytes, .. }: &RawResponse) {
        let json = line.trim_ascii_end();
        let Some(bytes) = bytes else { return self.send(Reply::Result, Some(id), json).await };
        let Ok(head) = whole(Reply::Result, Some(id), json) else { return };
        if let Some(length) = binary::length(head.len()) {
            self.put(Some(Message::Binary([self.prefix.as_bytes(), &length, &head, bytes].concat().into()))).await;
        }
    }

    /// Sends the object at the other end of the link the summary of the operation under this id. No client gets it.
    pub(super) fn about(&self, id: &str, summary: &str) {
        if let (Room::Taken { .. }, Ok(id), false) = (&self.room, json(id), summary.is_empty()) {
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

    /// Sends an event once there is room for it. False where the operation is cancelled and there is none, or the client is gone.
    pub(super) async fn event(&self, frame: Option<Message>, cancelled: &CancellationToken) -> bool {
        let Some(frame) = frame else { return false };
        // Room comes first: what fits is sent after the cancel, too.
        let room = tokio::select! {
            biased;
            room = self.room(&frame) => room,
            () = cancelled.cancelled() => None,
        };
        let Some(room) = room else { return false };
        self.push(frame, room);
        true
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
            Room::Written(room) => acquire(room, length, WAITING_BYTES).await.map(Some),
            // In this order, so that a slow client holds nothing that others wait for.
            Room::Taken { window, written } => {
                let reserved = window.reserve(length - self.prefix.len()).await?;
                let room = acquire(written, length, LINK_BYTES).await?;
                window.commit(reserved);
                Some(Some(room))
            }
        }
    }

    fn push(&self, frame: Message, room: Option<OwnedSemaphorePermit>) {
        let _ = self.queue.send((frame, room));
    }
}

/// Waits for room for a frame of this length.
async fn acquire(room: &Arc<Semaphore>, length: usize, all: usize) -> Option<OwnedSemaphorePermit> {
    let bytes = u32::try_from(length.clamp(FRAME_BYTES, all)).unwrap_or(u32::MAX);
    Arc::clone(room).acquire_many_owned(bytes).await.ok()
}

impl Queue {
    /// Writes frames until there are no more or the client is gone.
    pub(super) async fn write(mut self, mut sink: SplitSink<WebSocket, Message>) {
        while let Some(first) = self.0.recv().await {
            let (mut next, mut rooms) = (Some(first), Vec::new());
            // Those that wait already leave together.
            while let Some((frame, room)) = next {
                if sink.feed(frame).await.is_err() {
                    return;
                }
                rooms.extend(room);
                next = self.0.try_recv().ok();
            }
            // Until then the sink has copies of the frames: a client that stalls would otherwise hold as many again.
            if sink.flush().await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    }
}

/// The room for frames that one client has not taken; clones share it.
#[derive(Clone)]
pub(super) struct Window {
    room: Arc<Semaphore>,
    /// What the frames take that are on their way, in the order in which they are sent.
    sent: Arc<Mutex<VecDeque<usize>>>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { room: Arc::new(Semaphore::new(WINDOW_BYTES)), sent: Arc::default() }
    }

    /// Waits until a frame of this length fits. `None` when the client is gone. Dropping the room gives it back.
    async fn reserve(&self, length: usize) -> Option<SemaphorePermit<'_>> {
        self.room.acquire_many(u32::try_from(cost(length)).unwrap_or(u32::MAX)).await.ok()
    }

    /// Counts a frame as sent that has this room.
    fn commit(&self, room: SemaphorePermit<'_>) {
        self.with(|sent| sent.push_back(room.num_permits()));
        room.forget();
    }

    /// The client has taken so many more.
    pub(super) fn taken(&self, frames: u64) {
        let room = self.with(|sent| {
            let frames = usize::try_from(frames).unwrap_or(usize::MAX).min(sent.len());
            sent.drain(..frames).sum()
        });
        self.room.add_permits(room);
    }

    fn with<T>(&self, change: impl FnOnce(&mut VecDeque<usize>) -> T) -> T {
        change(&mut self.sent.lock().unwrap_or_else(PoisonError::into_inner))
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
    use futures_util::FutureExt;

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

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_sent_no_more_than_its_window() {
        let window = Window::new();
        let fits = |length| window.reserve(length).now_or_never().flatten().map(|room| window.commit(room)).is_some();
        assert_eq!((0..10).filter(|_| fits(60_000)).count(), WINDOW_BYTES / 60_000);
        window.taken(1);
        assert!(fits(60_000) && !fits(60_000));
        window.taken(u64::MAX);
        assert!(fits(1 << 30), "a frame larger than the window goes when nothing else is on its way");
        assert!(!fits(60_000) || !fits(60_000));
    }

    #[tokio::test]
    async fn clients_of_an_object_that_does_not_read_share_a_bounded_room() {
        let (link, mut queue) = Frames::new();
        let clients: Vec<_> = (0..100).map(|client| link.to_client(client, Window::new())).collect();
        let send = |frames: &Frames| frames.put(text("x".repeat(50_000))).now_or_never().is_some();
        let sent = clients.iter().filter(|client| send(client)).count();
        assert_eq!(sent, LINK_BYTES / 50_000);
        drop(queue.0.recv().await);
        assert_eq!(clients.iter().filter(|client| send(client)).count(), 1, "a frame that is written gives its room");
    }
}
