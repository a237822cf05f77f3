//! A child's stdin.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use tokio::{io::AsyncWriteExt, net::unix::pipe, sync::OwnedSemaphorePermit};

use super::Stdin;

/// The writing end of a child's stdin and what is still to be written, which is bounded by the room that callers bring.
#[derive(Debug)]
pub(super) struct Feed {
    pipe: pipe::Sender,
    queue: VecDeque<(Bytes, Option<OwnedSemaphorePermit>)>,
    /// Nothing will be added.
    complete: bool,
}

impl Feed {
    /// Feeds `pipe` with these bytes, or with what will be pushed.
    pub(super) fn new(pipe: pipe::Sender, stdin: Stdin) -> Self {
        let (queue, complete) = match stdin {
            Stdin::Bytes(bytes) => (VecDeque::from([(bytes, None)]), true),
            Stdin::Live => (VecDeque::new(), false),
            Stdin::Empty => (VecDeque::new(), true),
        };
        Self { pipe, queue, complete }
    }

    /// Adds bytes, whose room is given back when they are written; without effect after the end.
    pub(super) fn push(&mut self, bytes: Bytes, room: OwnedSemaphorePermit) {
        if !self.complete {
            self.queue.push_back((bytes, Some(room)));
        }
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        self.complete = true;
    }

    /// Whether there is something to do: to write, or to close.
    pub(super) fn busy(&self) -> bool {
        self.complete || !self.queue.is_empty()
    }

    /// Writes some. True when all is written and nothing will come, or the child reads no more: drop it then. Nothing is lost
    /// when the future is dropped.
    pub(super) async fn write(&mut self) -> bool {
        while self.queue.front().is_some_and(|(bytes, _)| bytes.is_empty()) {
            self.queue.pop_front();
        }
        let Some((bytes, _)) = self.queue.front_mut() else { return self.complete };
        match self.pipe.write(bytes).await {
            Ok(written) => {
                bytes.advance(written);
                false
            }
            // A child that closes its stdin has read what it wanted.
            Err(_) => true,
        }
    }
}
