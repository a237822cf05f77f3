//! ZMTP 3.0, the framing of ZeroMQ, as far as a client of kernels speaks it: connecting sockets, without encryption.
//!
//! It is here and not a crate's, because a kernel may send a message of any size, and none of the crates bounds what it reads: the `zeromq`
//! crate collects a whole message before anybody sees its length. Here the receiver knows the length of a frame before its first byte
//! is read, and may read it piece by piece.

use std::{io, path::PathBuf, pin::Pin};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf},
    net::{TcpStream, UnixStream},
};

/// Most bytes of a frame that is read whole.
pub(super) const MAX_FRAME_BYTES: u64 = 8 << 20;

/// What every peer says first: signature, version 3.0, the mechanism NULL, not a server.
const GREETING: [u8; 64] = {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    let name = *b"NULL";
    let mut at = 0;
    while at < name.len() {
        greeting[12 + at] = name[at];
        at += 1;
    }
    greeting
};

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Where a socket is.
#[derive(Debug, Clone)]
pub(super) enum Endpoint {
    /// A Unix socket.
    Ipc(PathBuf),
    /// A port of 127.0.0.1.
    Tcp(u16),
}

/// A kind of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sends requests and receives replies.
    Dealer,
    /// Receives what is published.
    Sub,
}

/// A byte stream in both directions.
trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

type Stream = Pin<Box<dyn Duplex>>;

/// The receiving half of a connection.
pub(super) struct Reader(BufReader<ReadHalf<Stream>>);

/// The sending half of a connection.
pub(super) struct Writer(WriteHalf<Stream>);

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// How many bytes follow.
    pub(super) length: u64,
    /// Whether another frame of the same message follows those.
    pub(super) more: bool,
}

/// Connects a socket, under this identity where it has one.
pub(super) async fn connect(endpoint: &Endpoint, kind: Kind, identity: &[u8]) -> io::Result<(Reader, Writer)> {
    let stream: Stream = match endpoint {
        Endpoint::Ipc(path) => Box::pin(UnixStream::connect(path).await?),
        Endpoint::Tcp(port) => {
            let stream = TcpStream::connect(("127.0.0.1", *port)).await?;
            stream.set_nodelay(true)?;
            Box::pin(stream)
        }
    };
    handshake(stream, kind, identity).await
}

async fn handshake(stream: Stream, kind: Kind, identity: &[u8]) -> io::Result<(Reader, Writer)> {
    let (reader, writer) = tokio::io::split(stream);
    let (mut reader, mut writer) = (Reader(BufReader::new(reader)), Writer(writer));
    writer.0.write_all(&GREETING).await?;
    let mut greeting = [0; 64];
    reader.0.read_exact(&mut greeting).await?;
    if greeting[0] != 0xff || greeting[9] & 1 == 0 || greeting[10] < 3 || greeting[12..17] != GREETING[12..17] {
        return Err(malformed("a greeting"));
    }
    let kind_name = match kind {
        Kind::Dealer => "DEALER",
        Kind::Sub => "SUB",
    };
    let mut ready = BytesMut::from(&b"\x05READY"[..]);
    for (name, value) in [("Socket-Type", kind_name.as_bytes()), ("Identity", identity)] {
        ready.put_u8(u8::try_from(name.len()).expect("names of properties are short"));
        ready.put_slice(name.as_bytes());
        ready.put_u32(u32::try_from(value.len()).map_err(io::Error::other)?);
        ready.put_slice(value);
    }
    writer.send_frame(COMMAND, &ready).await?;
    let (flags, length) = reader.flags_and_length().await?;
    let command = reader.read_whole(length).await?;
    if flags & COMMAND == 0 || !command.starts_with(b"\x05READY") {
        return Err(malformed("a handshake"));
    }
    if kind == Kind::Sub {
        // To everything.
        writer.send(&[&[1]]).await?;
    }
    Ok((reader, writer))
}

impl Reader {
    /// The head of the next frame of a message. Commands are passed over. Not to be dropped on its way.
    pub(super) async fn frame(&mut self) -> io::Result<Frame> {
        loop {
            let (flags, length) = self.flags_and_length().await?;
            if flags & COMMAND == 0 {
                return Ok(Frame { length, more: flags & MORE != 0 });
            }
            self.skip(length).await?;
        }
    }

    /// The bytes of a frame.
    ///
    /// Fails where there are more than may be held.
    pub(super) async fn read_whole(&mut self, length: u64) -> io::Result<Bytes> {
        if length > MAX_FRAME_BYTES {
            return Err(malformed("a frame of a sensible size"));
        }
        // Grows as the bytes come: a length is quickly said.
        let mut bytes = Vec::with_capacity(usize::try_from(length.min(64 << 10)).unwrap_or_default());
        (&mut self.0).take(length).read_to_end(&mut bytes).await?;
        if bytes.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.into())
    }

    /// Some of the next bytes of a frame, as many as the buffer holds, and of these at most `rest`.
    pub(super) async fn read_piece(&mut self, rest: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        match self.0.read(&mut buffer[..room]).await? {
            0 if room > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }

    /// Passes over bytes.
    pub(super) async fn skip(&mut self, length: u64) -> io::Result<()> {
        match tokio::io::copy(&mut (&mut self.0).take(length), &mut tokio::io::sink()).await? {
            skipped if skipped == length => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Passes over the rest of a message behind this frame, whose own bytes have been read.
    pub(super) async fn skip_rest(&mut self, mut frame: Frame) -> io::Result<()> {
        while frame.more {
            frame = self.frame().await?;
            self.skip(frame.length).await?;
        }
        Ok(())
    }

    async fn flags_and_length(&mut self) -> io::Result<(u8, u64)> {
        let flags = self.0.read_u8().await?;
        let length = match flags & LONG {
            0 => u64::from(self.0.read_u8().await?),
            _ => self.0.read_u64().await?,
        };
        if flags & !(MORE | LONG | COMMAND) != 0 || length > i64::MAX as u64 {
            return Err(malformed("a frame"));
        }
        Ok((flags, length))
    }
}

impl Writer {
    /// Sends a message of these frames.
    pub(super) async fn send(&mut self, frames: &[&[u8]]) -> io::Result<()> {
        let last = frames.len().saturating_sub(1);
        for (index, frame) in frames.iter().enumerate() {
            self.send_frame(if index == last { 0 } else { MORE }, frame).await?;
        }
        self.0.flush().await
    }

    async fn send_frame(&mut self, flags: u8, bytes: &[u8]) -> io::Result<()> {
        let mut head = BytesMut::with_capacity(9);
        match u8::try_from(bytes.len()) {
            Ok(length) => head.put_slice(&[flags, length]),
            Err(_) => {
                head.put_u8(flags | LONG);
                head.put_u64(bytes.len() as u64);
            }
        }
        self.0.write_all(&head).await?;
        self.0.write_all(bytes).await
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the kernel did not send {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of a connection, past the handshake.
    async fn pair() -> ((Reader, Writer), (Reader, Writer)) {
        let (one, other) = tokio::io::duplex(1 << 10);
        let (one, other) = tokio::join!(
            handshake(Box::pin(one), Kind::Dealer, b"me"),
            // A subscription is a message of its own.
            handshake(Box::pin(other), Kind::Dealer, b""),
        );
        (one.unwrap(), other.unwrap())
    }

    #[tokio::test]
    async fn frames_arrive_as_they_were_sent() {
        let ((mut reader, _writer), (_reader, mut writer)) = pair().await;
        let long = vec![7; 300];
        let sending = async { writer.send(&[b"", b"short", &long]).await.unwrap() };
        let receiving = async {
            for (length, more) in [(0, true), (5, true), (300, false)] {
                let frame = reader.frame().await.unwrap();
                assert_eq!(frame, Frame { length, more });
                assert_eq!(reader.read_whole(length).await.unwrap().len() as u64, length);
            }
        };
        tokio::join!(sending, receiving);
    }

    #[tokio::test]
    async fn a_frame_may_be_read_in_pieces_and_the_rest_passed_over() {
        let ((mut reader, _writer), (_reader, mut writer)) = pair().await;
        let large = vec![b'x'; 100_000];
        let sending = async {
            writer.send(&[&large, b"rest", b"more rest"]).await.unwrap();
            writer.send(&[b"next"]).await.unwrap();
        };
        let receiving = async {
            let frame = reader.frame().await.unwrap();
            let (mut rest, mut buffer) = (frame.length, [0; 4096]);
            while rest > 0 {
                rest -= reader.read_piece(rest, &mut buffer).await.unwrap() as u64;
            }
            reader.skip_rest(frame).await.unwrap();
            let next = reader.frame().await.unwrap();
            assert_eq!(reader.read_whole(next.length).await.unwrap(), "next");
        };
        tokio::join!(sending, receiving);
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        for nonsense in
            [&b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n\r\n"[..], &[0; 64], b"short"]
        {
            let (one, mut other) = tokio::io::duplex(1 << 10);
            other.write_all(nonsense).await.unwrap();
            other.shutdown().await.unwrap();
            assert!(handshake(Box::pin(one), Kind::Sub, b"").await.is_err());
        }
        let ((mut reader, _writer), (_reader, mut writer)) = pair().await;
        writer.0.write_all(&[LONG, 0, 0, 0, 1, 0, 0, 0, 0]).await.unwrap();
        let frame = reader.frame().await.unwrap();
        assert!(reader.read_whole(frame.length).await.is_err());
        writer.0.write_all(&[0xf0, 1, 1]).await.unwrap();
        assert!(reader.frame().await.is_err());
    }
}
