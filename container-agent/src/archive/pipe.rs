//! Between the tasks that speak HTTP and the threads that work on archives: bytes pass in pieces, a few at a time, and their end is
//! said, so that a side that breaks off is never taken for one that has finished.

use std::{
    io::{self, Read, Write},
    mem,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use cabana_protocol::{Code, Error};
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, Receiver, Sender, error::SendTimeoutError},
};

use crate::buffers::Buffers;

/// How many pieces wait between the two.
const PIECES: usize = 4;

/// Bytes of a piece that a thread makes.
const PIECE_BYTES: usize = 256 << 10;

/// What passes.
#[derive(Debug)]
pub enum Piece {
    /// Some bytes.
    Bytes(Bytes),
    /// There is no more.
    End,
    /// There would be more, but for this.
    Broken(Error),
}

/// From a task to a thread.
pub fn incoming() -> (PieceSender, PieceReader) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (PieceSender(sender), PieceReader { pieces: receiver, piece: Bytes::new(), ended: false })
}

/// From a thread to a task, which is to take a piece within this time.
pub fn outgoing(idle_timeout: Duration) -> (PieceWriter, Receiver<Piece>) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (PieceWriter { pieces: sender, idle_timeout, buffers: Buffers::default(), piece: BytesMut::new() }, receiver)
}

/// The task's end. Dropping it breaks off.
#[derive(Debug)]
pub struct PieceSender(Sender<Piece>);

impl PieceSender {
    /// Hands it on, when there is room. False when nobody reads any more.
    pub async fn send(&self, piece: Piece) -> bool {
        self.0.send(piece).await.is_ok()
    }
}

/// What a thread reads.
#[derive(Debug)]
pub struct PieceReader {
    pieces: Receiver<Piece>,
    piece: Bytes,
    ended: bool,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.piece = bytes,
                Some(Piece::End) => self.ended = true,
                Some(Piece::Broken(error)) => return Err(io::Error::other(error)),
                None => return Err(io::Error::other(broken_off())),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// What a thread writes to. Dropping it breaks off.
#[derive(Debug)]
pub struct PieceWriter {
    pieces: Sender<Piece>,
    idle_timeout: Duration,
    buffers: Buffers,
    piece: BytesMut,
}

impl PieceWriter {
    /// Passes on what has been gathered.
    pub fn pass(&mut self) -> Result<(), Error> {
        let mut piece = mem::take(&mut self.piece);
        if piece.is_empty() {
            return Ok(());
        }
        let bytes = piece.split().freeze();
        self.buffers.keep(piece);
        self.send(Piece::Bytes(bytes))
    }

    /// Waits for room. A client that reads nothing for too long gives its thread and its permit to others.
    fn send(&self, piece: Piece) -> Result<(), Error> {
        let sent = Handle::current().block_on(self.pieces.send_timeout(piece, self.idle_timeout));
        sent.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => {
                let idle_ms = self.idle_timeout.as_millis();
                Error::new(Code::Interrupted, format!("the client read nothing of the archive for {idle_ms} ms"))
            }
            SendTimeoutError::Closed(_) => broken_off(),
        })
    }

    /// Says that this was all, or why it was not.
    pub fn end(self, result: Result<(), Error>) {
        // A client that has gone away needs to be told nothing.
        let _ = self.send(result.map_or_else(Piece::Broken, |()| Piece::End));
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece = self.buffers.take(PIECE_BYTES);
        }
        let count = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE_BYTES {
            self.pass().map_err(io::Error::other)?;
        }
        Ok(count)
    }

    /// Nothing is passed on before it is worth it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken_off() -> Error {
    Error::new(Code::Interrupted, "the connection was interrupted")
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    fn error() -> Error {
        Error::invalid_request("broken")
    }

    #[tokio::test]
    async fn a_thread_reads_to_the_end_or_knows_that_there_is_none() {
        let piece = |bytes: &'static str| Piece::Bytes(bytes.into());
        for (pieces, read) in [
            (vec![piece("one"), piece(""), piece(" two"), Piece::End], Ok("one two")),
            (vec![Piece::End], Ok("")),
            (vec![piece("one")], Err(Code::Interrupted)),
            (vec![], Err(Code::Interrupted)),
            (vec![piece("one"), Piece::Broken(error())], Err(Code::InvalidRequest)),
        ] {
            let (inlet, mut source) = incoming();
            let reader = tokio::task::spawn_blocking(move || {
                let mut whole = String::new();
                source.read_to_string(&mut whole).map(|_| whole).map_err(|error| error.downcast::<Error>().unwrap().code)
            });
            let all_taken = stream::iter(pieces).all(|piece| inlet.send(piece)).await;
            drop(inlet);
            assert_eq!((all_taken, reader.await.unwrap()), (true, read.map(str::to_owned)));
        }
    }

    #[tokio::test]
    async fn a_task_reads_to_the_end_or_knows_that_there_is_none() {
        let content = vec![b'x'; 3 * PIECE_BYTES + 1];
        for (result, ended) in [(Some(Ok(())), true), (Some(Err(error())), false), (None, false)] {
            let (mut sink, mut pieces) = outgoing(LONG);
            let sent = content.clone();
            let writer = tokio::task::spawn_blocking(move || {
                sink.write_all(&sent).unwrap();
                if let Some(result) = result {
                    sink.pass().unwrap();
                    sink.end(result);
                }
            });
            let (mut received, mut end) = (0, false);
            while let Some(piece) = pieces.recv().await {
                match piece {
                    Piece::Bytes(bytes) => received += bytes.len(),
                    Piece::End => end = true,
                    Piece::Broken(broken) => assert_eq!(broken, error()),
                }
            }
            writer.await.unwrap();
            assert_eq!(end, ended);
            assert!(!ended || received == content.len());
        }
    }

    #[tokio::test]
    async fn who_writes_to_nobody_is_told() {
        let (mut sink, pieces) = outgoing(LONG);
        drop(pieces);
        let written = tokio::task::spawn_blocking(move || sink.write_all(&vec![b'x'; 2 * PIECE_BYTES]));
        assert!(written.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_writer_whose_reader_stalls_ends() {
        let (mut sink, mut pieces) = outgoing(Duration::from_millis(1));
        let content = vec![b'x'; (PIECES + 1) * PIECE_BYTES];
        let written =
            tokio::task::spawn_blocking(move || sink.write_all(&content).map_err(|error| error.downcast::<Error>().unwrap()));
        assert_eq!(written.await.unwrap().unwrap_err().code, Code::Interrupted);
        let mut whole = 0;
        while let Some(piece) = pieces.recv().await {
            assert!(matches!(piece, Piece::Bytes(_)), "an end that is none");
            whole += 1;
        }
        assert_eq!(whole, PIECES);
    }
}
