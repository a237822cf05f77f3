//! A child's stdin.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use tokio::{io::AsyncWriteExt, net::unix::pipe};

use super::Stdin;

/// Bytes that wait for a child that does not read: the client waits beyond that.
const QUEUE_BYTES: usize = 1 << 20;

/// The writing end of a child's stdin and what is still to be written.
#[derive(Debug)]
pub(super) struct Feed {
    pipe: pipe::Sender,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Nothing will be added.
    complete: bool,
}

impl Feed {
    /// Feeds `pipe` with these bytes, or with what will be pushed.
    pub(super) fn new(pipe: pipe::Sender, stdin: Stdin) -> Self {
        let (queue, complete) = match stdin {
            Stdin::Bytes(bytes) => (VecDeque::from([bytes]), true),
            Stdin::Live => (VecDeque::new(), false),
            Stdin::Empty => (VecDeque::new(), true),
        };
        let queued = queue.iter().map(Bytes::len).sum();
        Self { pipe, queue, queued, complete }
    }

    /// Adds bytes; without effect after the end.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !self.complete {
            self.queued += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        self.complete = true;
    }

    /// Whether more may be pushed before some is written.
    pub(super) fn has_room(&self) -> bool {
        self.queued < QUEUE_BYTES
    }

    /// Whether there is something to do: to write, or to close.
    pub(super) fn busy(&self) -> bool {
        self.complete || !self.queue.is_empty()
    }

    /// Writes some. True when all is written and nothing will come, or the child reads no more: drop it then. Nothing is lost
    /// when the future is dropped.
    pub(super) async fn write(&mut self) -> bool {
        while self.queue.front().is_some_and(Bytes::is_empty) {
            self.queue.pop_front();
        }
        let Some(bytes) = self.queue.front_mut() else { return self.complete };
        match self.pipe.write(bytes).await {
            Ok(written) => {
                bytes.advance(written);
                self.queued -= written;
                false
            }
            // A child that closes its stdin has read what it wanted.
            Err(_) => true,
        }
    }
}
