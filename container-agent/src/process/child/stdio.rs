//! What a child reads and writes: its stdin, and its stdout and stderr, or what appears on its terminal, as numbered chunks.

use std::{collections::VecDeque, io, os::fd::OwnedFd, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};

use super::pty::{END_OF_FILE, Screen, Terminal};
use crate::{
    buffers::Buffers,
    process::{Journal, Stdin},
    waiting::if_any,
};

/// Most bytes in one chunk: what a pipe of Linux holds.
const CHUNK_BYTES: usize = 64 << 10;

/// Room for a first chunk, and the least that is read into: most commands print little, and a buffer that is larger than what the
/// allocator keeps at hand is mapped and unmapped for each of them.
const FIRST_CHUNK_BYTES: usize = 4 << 10;

/// How long after a child's exit its pipes are read on, where something that it started holds them open.
const DRAIN: Duration = Duration::from_millis(100);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it was printed.
    pub stream: Stream,
    /// Number of its first byte, counted over both streams.
    pub offset: u64,
    /// The piece.
    pub bytes: Bytes,
}

impl Chunk {
    /// Number of the byte after its last.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// The reading ends, until both are at their end.
#[derive(Debug)]
pub(crate) struct Pipes {
    stdout: Option<Source>,
    stderr: Option<Source>,
    offset: u64,
    /// Set when the child has exited.
    drain: Option<Instant>,
}

impl Pipes {
    pub(crate) fn new(stdout: Option<OwnedFd>, stderr: Option<OwnedFd>) -> io::Result<Self> {
        let source = |fd: Option<OwnedFd>| fd.map(|fd| Pipe::new(fd).map(Source::Pipe)).transpose();
        Ok(Self { stdout: source(stdout)?, stderr: source(stderr)?, offset: 0, drain: None })
    }

    /// What appears on a terminal, as stdout.
    pub(in crate::process) fn of_terminal(screen: Screen) -> Self {
        Self { stdout: Some(Source::Screen(screen)), stderr: None, offset: 0, drain: None }
    }

    /// The child has exited: what it wrote is still read, but what others write only for a moment more.
    pub(crate) fn exited(&mut self) {
        self.drain = Some(Instant::now() + DRAIN);
        for source in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            match source {
                Source::Pipe(pipe) => pipe.owed = pipe.waiting(),
                Source::Screen(screen) => screen.exited(),
            }
        }
    }

    /// What is printed next, once whoever waits for it in the journal has taken what came before.
    pub(crate) async fn print(&mut self, journal: &Journal) -> Option<Chunk> {
        journal.room().await;
        self.next().await
    }

    /// The next chunk; `None` when there will be none. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Chunk> {
        loop {
            if self.stdout.is_none() && self.stderr.is_none() {
                return None;
            }
            let (stream, read) = tokio::select! {
                read = read(&mut self.stdout), if self.stdout.is_some() => (Stream::Stdout, read),
                read = read(&mut self.stderr), if self.stderr.is_some() => (Stream::Stderr, read),
                () = if_any(self.drain.map(sleep_until)), if self.paid() => match self.rest() {
                    Some(bytes) => (Stream::Stdout, Some(bytes)),
                    None => return None,
                },
            };
            match read {
                Some(bytes) => {
                    let offset = self.offset;
                    self.offset += bytes.len() as u64;
                    return Some(Chunk { stream, offset, bytes });
                }
                None if stream == Stream::Stdout => self.stdout = None,
                None => self.stderr = None,
            }
        }
    }

    /// Whether all that the child had written when it exited has been read. Of a terminal [`Pipes::rest`] shows that.
    fn paid(&self) -> bool {
        let paid = |source: &Source| matches!(source, Source::Screen(_) | Source::Pipe(Pipe { owed: 0, .. }));
        self.drain.is_some() && [&self.stdout, &self.stderr].into_iter().flatten().all(paid)
    }

    fn rest(&mut self) -> Option<Bytes> {
        match &mut self.stdout {
            Some(Source::Screen(screen)) => screen.rest(),
            _ => None,
        }
    }

    /// Whether something else still holds the other ends open. A terminal is hung up instead.
    pub(crate) fn held(&self) -> bool {
        [&self.stdout, &self.stderr].into_iter().flatten().any(|source| matches!(source, Source::Pipe(_)))
    }

    /// Reads on and forgets, so that whatever outlives the child is not ended by a broken pipe.
    pub(crate) async fn discard(self) {
        let drain = async |source: Option<Source>| {
            let mut source = source;
            while read(&mut source).await.is_some() {}
        };
        tokio::join!(drain(self.stdout), drain(self.stderr));
    }
}

#[derive(Debug)]
enum Source {
    Pipe(Pipe),
    Screen(Screen),
}

#[derive(Debug)]
struct Pipe {
    pipe: pipe::Receiver,
    buffer: BytesMut,
    buffers: Buffers,
    /// Room of the next buffer.
    room: usize,
    /// Bytes that the child had written when it exited and that have not been read.
    owed: usize,
}

impl Pipe {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pipe: pipe::Receiver::from_owned_fd(fd)?,
            buffer: BytesMut::new(),
            buffers: Buffers::default(),
            room: FIRST_CHUNK_BYTES,
            owed: 0,
        })
    }

    /// How much is in the pipe now.
    fn waiting(&self) -> usize {
        rustix::io::ioctl_fionread(&self.pipe).ok().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
    }

    async fn read(&mut self) -> Option<Bytes> {
        // A small piece leaves the rest of the buffer to the next one.
        if self.buffer.capacity() < FIRST_CHUNK_BYTES {
            let buffer = self.buffers.take(self.room);
            self.room = CHUNK_BYTES;
            self.buffers.keep(std::mem::replace(&mut self.buffer, buffer));
        }
        match self.pipe.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.owed = self.owed.saturating_sub(count);
                Some(self.buffer.split().freeze())
            }
        }
    }
}

/// Reads some; `None` at the end.
async fn read(source: &mut Option<Source>) -> Option<Bytes> {
    match source.as_mut()? {
        Source::Pipe(pipe) => pipe.read().await,
        Source::Screen(screen) => screen.read().await,
    }
}

/// The writing end of a child's stdin and what is still to be written, which is bounded by the room that callers bring.
#[derive(Debug)]
pub(crate) struct StdinWriter {
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

impl StdinWriter {
    /// StdinWriters `pipe` with these bytes, or with what will be pushed.
    pub(crate) fn of_pipe(pipe: pipe::Sender, stdin: Stdin) -> Self {
        let (queue, complete) = match stdin {
            Stdin::Bytes(bytes) => (VecDeque::from([(bytes, None)]), true),
            Stdin::Live => (VecDeque::new(), false),
            Stdin::Empty | Stdin::File(_) => (VecDeque::new(), true),
        };
        Self { sink: Sink::Pipe(pipe), queue, complete }
    }

    /// Types these bytes, and then what will be pushed.
    pub(in crate::process) fn of_terminal(terminal: Terminal, stdin: Stdin) -> Self {
        let queue = match stdin {
            Stdin::Bytes(bytes) => VecDeque::from([(bytes, None)]),
            Stdin::Live | Stdin::Empty | Stdin::File(_) => VecDeque::new(),
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
