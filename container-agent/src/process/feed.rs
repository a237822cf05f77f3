//! A child's stdin, or its keyboard.

use std::{collections::VecDeque, io};

use bytes::{Buf, Bytes};
use tokio::{io::AsyncWriteExt, net::unix::pipe, sync::OwnedSemaphorePermit};

use super::{
    Stdin,
    terminal::{END_OF_FILE, Terminal},
};

/// The writing end of a child's stdin and what is still to be written, which is bounded by the room that callers bring.
#[derive(Debug)]
pub(crate) struct Feed {
    sink: Sink,
    queue: VecDeque<(Bytes, Option<OwnedSemaphorePermit>)>,
    /// Nothing will be added.
    complete: bool,
}

/// Where it goes.
#[derive(Debug)]
enum Sink {
    Pipe(pipe::Sender),
    Terminal(Terminal),
}

impl Feed {
    /// Feeds `pipe` with these bytes, or with what will be pushed.
    pub(crate) fn of_pipe(pipe: pipe::Sender, stdin: Stdin) -> Self {
        let (queue, complete) = match stdin {
            Stdin::Bytes(bytes) => (VecDeque::from([(bytes, None)]), true),
            Stdin::Live => (VecDeque::new(), false),
            Stdin::Empty => (VecDeque::new(), true),
        };
        Self { sink: Sink::Pipe(pipe), queue, complete }
    }

    /// Types these bytes, and then what will be pushed.
    pub(super) fn of_terminal(terminal: Terminal, stdin: Stdin) -> Self {
        let queue = match stdin {
            Stdin::Bytes(bytes) => VecDeque::from([(bytes, None)]),
            Stdin::Live | Stdin::Empty => VecDeque::new(),
        };
        Self { sink: Sink::Terminal(terminal), queue, complete: false }
    }

    /// Adds bytes, whose room is given back when they are written; without effect after the end.
    pub(crate) fn push(&mut self, bytes: Bytes, room: OwnedSemaphorePermit) {
        if !self.complete {
            self.queue.push_back((bytes, Some(room)));
        }
    }

    /// Nothing more will come; on a terminal, ctrl-D.
    pub(crate) fn end(&mut self) {
        match &self.sink {
            Sink::Pipe(_) => self.complete = true,
            // One that has not been taken yet is enough, and all that may wait.
            Sink::Terminal(_) if self.queue.back().is_some_and(|(bytes, _)| **bytes == *END_OF_FILE) => {}
            Sink::Terminal(_) => self.queue.push_back((Bytes::from_static(END_OF_FILE), None)),
        }
    }

    /// Whether there is something to do: to write, or to close.
    pub(crate) fn busy(&self) -> bool {
        self.complete || !self.queue.is_empty()
    }

    /// Writes some. True when all is written and nothing will come, or the child reads no more: drop it then. Nothing is lost
    /// when the future is dropped.
    pub(crate) async fn write(&mut self) -> bool {
        while self.queue.front().is_some_and(|(bytes, _)| bytes.is_empty()) {
            self.queue.pop_front();
        }
        let Some((bytes, _)) = self.queue.front_mut() else { return self.complete };
        match self.sink.write(bytes).await {
            Ok(written) => {
                bytes.advance(written);
                false
            }
            // A child that closes its stdin has read what it wanted.
            Err(_) => true,
        }
    }
}

impl Sink {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write(bytes).await,
            Self::Terminal(terminal) => terminal.write(bytes).await,
        }
    }
}
