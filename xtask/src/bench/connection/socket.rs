//! A WebSocket, RFC 6455, as far as a client of this one server needs it.

use super::{Answer, Connection};
use anyhow::{Result, ensure};
use std::io::Write;

/// The first byte of a text frame that is a whole message.
const TEXT: u8 = 0x81;
/// Any key will do: nobody is on the way who could take an old answer for this one.
const UPGRADE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// The agent's WebSocket.
pub(in crate::bench) struct Socket(Connection);

impl Socket {
    /// Leaves the connection behind the agent's greeting.
    pub(super) fn open(mut connection: Connection) -> Result<Self> {
        let target = format!("{}/connect", connection.service.base);
        connection.send("GET", &target, UPGRADE, "")?;
        let status = connection.line()?;
        ensure!(status.starts_with("HTTP/1.1 101"), "the answer is {status}");
        while !connection.line()?.is_empty() {}
        let mut socket = Self(connection);
        socket.receive()?;
        Ok(socket)
    }

    /// Asks for an operation, with its request as JSON.
    pub(in crate::bench) fn ask(&mut self, operation: &str, request: &str) -> Result<()> {
        let text = format!(r#"{{"type":"{operation}","id":"1","payload":{request}}}"#);
        let length = u16::try_from(text.len())?.to_be_bytes();
        // A mask of zeros leaves the text as it is.
        let head = [TEXT, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
        Ok(self.0.stream.write_all(&[&head, text.as_bytes()].concat())?)
    }

    /// Asks for an operation and waits for its end.
    pub(in crate::bench) fn carry_out(&mut self, operation: &str, request: &str) -> Result<u64> {
        self.ask(operation, request)?;
        let mut length = 0;
        loop {
            let frame = self.receive()?;
            length += frame.length;
            ensure!(!frame.tail().starts_with(br#"{"type":"error""#), "{operation} failed");
            if frame.tail().starts_with(br#"{"type":"result""#) {
                return Ok(length);
            }
        }
    }

    /// Takes in the next frame.
    pub(in crate::bench) fn receive(&mut self) -> Result<Answer> {
        let [first, length] = self.bytes()?;
        ensure!(first == TEXT, "a frame begins with {first:#x}");
        let length = match length {
            126 => u16::from_be_bytes(self.bytes()?).into(),
            127 => u64::from_be_bytes(self.bytes()?),
            length => length.into(),
        };
        let mut answer = Answer::default();
        self.0.body(length, &mut answer)?;
        Ok(answer)
    }

    fn bytes<const COUNT: usize>(&mut self) -> Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        for byte in &mut bytes {
            if self.0.unread.is_empty() {
                self.0.receive()?;
            }
            *byte = self.0.buffer[self.0.unread.start];
            self.0.unread.start += 1;
        }
        Ok(bytes)
    }
}
