//! Output of cells on its way to callers: a queue of bounded size. The cell waits a little for a slow caller, and then leaves output out:
//! a kernel drops messages of its own accord, and among them the end of a cell, when nobody reads what it publishes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cabana_protocol::code::RunEvent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Most bytes that wait for the caller of a cell.
const PENDING_BYTES: usize = 4 << 20;

/// How long they may leave no room for more.
const PATIENCE: Duration = Duration::from_millis(250);

/// Most bytes of text in one event.
pub(super) const TEXT_BYTES: usize = 32 << 10;

/// Takes the output of a cell.
#[derive(Debug)]
pub(super) struct Sink {
    events: mpsc::UnboundedSender<Pending>,
    room: Arc<Semaphore>,
    /// Bytes that were left out since the last notice.
    omitted: AtomicU64,
}

/// An event that waits, and the room that it takes.
#[derive(Debug)]
pub(super) struct Pending {
    /// The event.
    pub(super) event: RunEvent,
    _room: Option<OwnedSemaphorePermit>,
}

/// The caller's end of a [`Sink`].
pub(super) type Outlet = mpsc::UnboundedReceiver<Pending>;

impl Sink {
    /// A queue, and its other end.
    pub(super) fn new() -> (Self, Outlet) {
        let (events, outlet) = mpsc::unbounded_channel();
        (Self { events, room: Arc::new(Semaphore::new(PENDING_BYTES)), omitted: AtomicU64::new(0) }, outlet)
    }

    /// Puts an event of about this size into it, or leaves it out; says which.
    pub(super) async fn push(&self, event: RunEvent, bytes: usize) -> bool {
        let wanted = u32::try_from(bytes.clamp(64, PENDING_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room);
        let room = match Arc::clone(&room).try_acquire_many_owned(wanted) {
            Ok(room) => Some(room),
            // A caller for whom something was left out already is not waited for again before there is room.
            Err(_) if self.omitted.load(Ordering::Relaxed) > 0 => None,
            Err(_) => tokio::time::timeout(PATIENCE, room.acquire_many_owned(wanted)).await.ok().and_then(Result::ok),
        };
        if room.is_none() {
            self.omitted.fetch_add(bytes as u64, Ordering::Relaxed);
            return false;
        }
        self.note_omission();
        // Fails where the caller has gone.
        self.events.send(Pending { event, _room: room }).is_ok()
    }

    /// Puts an event into it that is small and must not be left out.
    pub(super) fn put(&self, event: RunEvent) {
        self.note_omission();
        let _ = self.events.send(Pending { event, _room: None });
    }

    /// Says that something was left out, if so.
    pub(super) fn note_omission(&self) {
        let bytes = self.omitted.swap(0, Ordering::Relaxed);
        if bytes > 0 {
            let _ = self.events.send(Pending { event: RunEvent::Omitted { bytes }, _room: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(event: &RunEvent) -> usize {
        match event {
            RunEvent::Stdout { text } => text.len(),
            _ => 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_reads_nothing_is_told_what_was_left_out() {
        let (sink, mut outlet) = Sink::new();
        for _ in 0..2 * PENDING_BYTES / TEXT_BYTES {
            sink.push(RunEvent::Stdout { text: "x".repeat(TEXT_BYTES) }, TEXT_BYTES).await;
        }
        let mut told = 0;
        while let Ok(pending) = outlet.try_recv() {
            told += text(&pending.event);
        }
        assert_eq!(told, PENDING_BYTES);
        sink.put(RunEvent::Clear { wait: false });
        assert_eq!(outlet.recv().await.unwrap().event, RunEvent::Omitted { bytes: PENDING_BYTES as u64 });
    }

    #[tokio::test]
    async fn a_caller_that_reads_gets_everything() {
        let (sink, mut outlet) = Sink::new();
        let reading = async {
            let mut told = 0;
            while told < 2 * PENDING_BYTES {
                told += text(&outlet.recv().await.unwrap().event);
            }
        };
        let writing = async {
            for _ in 0..2 * PENDING_BYTES / TEXT_BYTES {
                assert!(sink.push(RunEvent::Stdout { text: "x".repeat(TEXT_BYTES) }, TEXT_BYTES).await);
            }
        };
        tokio::join!(writing, reading);
        sink.note_omission();
        assert!(outlet.try_recv().is_err());
    }
}
