//! A WebSocket client, RFC 6455, as far as this one server needs it.

use super::{Body, Connection};
use anyhow::{Result, ensure};
use std::io::Write;

/// The first byte of a text frame that is a whole message.
const TEXT: u8 = 0x81;
/// The key is fixed: no proxy between client and server could replay an old response.
const UPGRADE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// The WebSocket of an agent or a sandbox.
pub(crate) struct Socket(Connection);

impl Socket {
    /// Upgrades the connection and reads the greeting.
    pub(super) fn open(mut connection: Connection) -> Result<Self> {
        let target = format!("{}/connect", connection.service.base);
        connection.send("GET", &target, UPGRADE, "")?;
        let status = connection.read_line()?;
        ensure!(status.starts_with("HTTP/1.1 101"), "the upgrade was refused: {status}");
        while !connection.read_line()?.is_empty() {}
        let mut socket = Self(connection);
        socket.receive()?;
        Ok(socket)
    }

    /// Sends the request of an operation, given as JSON.
    pub(crate) fn send(&mut self, operation: &str, request: &str) -> Result<()> {
        let text = format!(r#"{{"type":"{operation}","id":"1","payload":{request}}}"#);
        let length = u16::try_from(text.len())?.to_be_bytes();
        // A mask of zeros leaves the text as it is.
        let head = [TEXT, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
        Ok(self.0.stream.write_all(&[&head, text.as_bytes()].concat())?)
    }

    /// Calls an operation and waits for its result. Returns the bytes of all frames.
    pub(crate) fn call(&mut self, operation: &str, request: &str) -> Result<u64> {
        self.send(operation, request)?;
        let mut length = 0;
        loop {
            let frame = self.receive()?;
            length += frame.length();
            ensure!(!frame.tail().starts_with(br#"{"type":"error""#), "{operation} failed");
            if frame.tail().starts_with(br#"{"type":"result""#) {
                return Ok(length);
            }
        }
    }

    /// Reads the next frame.
    pub(crate) fn receive(&mut self) -> Result<Body> {
        let [first, length] = self.read_bytes()?;
        ensure!(first == TEXT, "a frame begins with {first:#x}, not as a text frame");
        let length = match length {
            126 => u16::from_be_bytes(self.read_bytes()?).into(),
            127 => u64::from_be_bytes(self.read_bytes()?),
            length => length.into(),
        };
        let mut payload = Body::default();
        self.0.read_into(&mut payload, length)?;
        Ok(payload)
    }

    fn read_bytes<const COUNT: usize>(&mut self) -> Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        for byte in &mut bytes {
            if self.0.unread.is_empty() {
                self.0.fill_buffer()?;
            }
            *byte = self.0.buffer[self.0.unread.start];
            self.0.unread.start += 1;
        }
        Ok(bytes)
    }
}
