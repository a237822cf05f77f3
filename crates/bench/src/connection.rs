//! An HTTP/1.1 client of few instructions: one that did more would measure itself.

mod socket;

pub(crate) use socket::Socket;

use crate::agent::SECRET;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

/// Bytes read at once.
const BUFFER: usize = 1 << 20;
/// The media type of one value at the end.
pub(crate) const JSON: &str = "application/json";
/// The media type of one line for each event.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// The form of an answer that is the bytes of stdout alone.
pub(crate) const RAW: &str = "application/octet-stream";
/// Bytes of a body that are kept: its end, where a stream says how it ended.
const TAIL: usize = 4 << 10;

/// Where a service is, and the key to it.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    /// The prefix of its routes.
    pub(crate) base: String,
    pub(crate) key: String,
}

impl Service {
    /// The service of an agent.
    pub(crate) fn agent(address: SocketAddr) -> Self {
        Self { address, base: "/v1".to_owned(), key: SECRET.to_owned() }
    }

    pub(crate) fn connect(&self) -> Result<Connection> {
        Connection::open(self)
    }
}

/// One connection, kept alive over its requests.
pub(crate) struct Connection {
    service: Service,
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The part of the buffer that has been received and not been consumed.
    unread: std::ops::Range<usize>,
}

/// The body of a response, or the payload of a WebSocket frame.
#[derive(Debug, Default)]
pub(crate) struct Body {
    length: u64,
    tail: Vec<u8>,
}

impl Body {
    /// Its length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Its end, at most 4 KiB.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail[self.tail.len().saturating_sub(TAIL)..]
    }

    /// Whether it reports a command that exited with 0.
    pub(crate) fn is_success(&self) -> bool {
        self.tail().windows(8).any(|part| part == br#""code":0"#)
    }

    fn append(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL)..]);
        if self.tail.len() > 4 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
    }
}

/// How a response delimits its body.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
}

impl Connection {
    fn open(service: &Service) -> Result<Self> {
        let stream = TcpStream::connect(service.address).context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { service: service.clone(), stream, buffer: vec![0; BUFFER], unread: 0..0 })
    }

    pub(crate) fn get(&mut self, target: &str) -> Result<Body> {
        self.send("GET", target, "", "")?;
        self.read_response()
    }

    /// Calls an operation with a JSON request, and reads the response in the form of this media type.
    pub(crate) fn post(&mut self, operation: &str, request: &str, accept: &str) -> Result<Body> {
        self.send_operation(operation, request, accept)?;
        self.read_response()
    }

    /// Calls an operation that may be refused, and returns the status.
    pub(crate) fn try_post(&mut self, operation: &str, request: &str) -> Result<u16> {
        self.send_operation(operation, request, JSON)?;
        let (status, framing) = self.read_head()?;
        self.read_body(framing)?;
        Ok(status)
    }

    /// Calls an operation and reads only the first line of its stream.
    pub(crate) fn open_stream(&mut self, operation: &str, request: &str) -> Result<()> {
        self.send_operation(operation, request, NDJSON)?;
        self.read_success()?;
        self.read_chunk_size()?;
        self.read_line().map(drop)
    }

    /// Runs a command, given as JSON.
    pub(crate) fn exec(&mut self, command: &str, accept: &str) -> Result<Body> {
        self.post("exec", &format!("{{\"command\":{command}}}"), accept)
    }

    /// Runs a command, given as JSON. Fails unless it exits with 0.
    pub(crate) fn run(&mut self, command: &str) -> Result<()> {
        let body = self.exec(command, JSON)?;
        ensure!(body.is_success(), "{command} failed");
        Ok(())
    }

    /// Sends a body of this length that repeats `piece`.
    pub(crate) fn put(&mut self, target: &str, length: u64, piece: &[u8]) -> Result<Body> {
        self.send("PUT", target, &format!("content-length: {length}\r\n"), "")?;
        let mut left = length;
        while left > 0 {
            let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.stream.write_all(&piece[..count]).context("send the body")?;
            left -= count as u64;
        }
        self.read_response()
    }

    /// Sends the content of a file.
    pub(crate) fn put_file(&mut self, target: &str, file: &Path) -> Result<Body> {
        let mut file = File::open(file).with_context(|| format!("open {}", file.display()))?;
        let length = file.metadata()?.len();
        self.send("PUT", target, &format!("content-length: {length}\r\n"), "")?;
        while let count @ 1.. = file.read(&mut self.buffer)? {
            self.stream.write_all(&self.buffer[..count]).context("send the body")?;
        }
        self.read_response()
    }

    /// Switches the connection to the WebSocket protocol.
    pub(crate) fn upgrade(self) -> Result<Socket> {
        Socket::open(self)
    }

    fn send_operation(&mut self, operation: &str, request: &str, accept: &str) -> Result<()> {
        let target = format!("{}/{operation}", self.service.base);
        let fields = format!("accept: {accept}\r\ncontent-length: {}\r\n", request.len());
        self.send("POST", &target, &fields, request)
    }

    fn send(&mut self, method: &str, target: &str, fields: &str, body: &str) -> Result<()> {
        let Service { address, key, .. } = &self.service;
        let request =
            format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n{fields}\r\n{body}");
        self.stream.write_all(request.as_bytes()).context("send a request")
    }

    fn read_response(&mut self) -> Result<Body> {
        let framing = self.read_success()?;
        self.read_body(framing)
    }

    /// Reads the head of a response whose status is 2xx.
    fn read_success(&mut self) -> Result<Framing> {
        let (status, framing) = self.read_head()?;
        ensure!(matches!(status, 200..=209), "the response has status {status}");
        Ok(framing)
    }

    /// Reads the head of a response of any status.
    fn read_head(&mut self) -> Result<(u16, Framing)> {
        let line = self.read_line()?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.with_context(|| format!("not a status line: {line:?}"))?;
        let mut framing = None;
        loop {
            let line = self.read_line()?.to_ascii_lowercase();
            match line.split_once(':') {
                Some(("content-length", length)) => framing = Some(Framing::Length(length.trim().parse()?)),
                Some(("transfer-encoding", _)) => framing = Some(Framing::Chunked),
                Some(_) => {}
                None => return Ok((status, framing.context("the response does not delimit its body")?)),
            }
        }
    }

    fn read_body(&mut self, framing: Framing) -> Result<Body> {
        let mut body = Body::default();
        match framing {
            Framing::Length(length) => self.read_into(&mut body, length)?,
            Framing::Chunked => {
                while let length @ 1.. = self.read_chunk_size()? {
                    self.read_into(&mut body, length)?;
                    self.read_line()?;
                }
                self.read_line()?;
            }
        }
        Ok(body)
    }

    fn read_chunk_size(&mut self) -> Result<u64> {
        let line = self.read_line()?;
        u64::from_str_radix(&line, 16).with_context(|| format!("not a chunk size: {line:?}"))
    }

    fn read_into(&mut self, body: &mut Body, length: u64) -> Result<()> {
        let mut left = length;
        while left > 0 {
            if self.unread.is_empty() {
                self.fill_buffer()?;
            }
            let count = self.unread.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            body.append(&self.buffer[self.unread.start..self.unread.start + count]);
            self.unread.start += count;
            left -= count as u64;
        }
        Ok(())
    }

    /// Reads a line, without its line break.
    fn read_line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            let unread = &self.buffer[self.unread.clone()];
            match unread.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    line.extend_from_slice(&unread[..end]);
                    self.unread.start += end + 1;
                    return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
                None => {
                    line.extend_from_slice(unread);
                    self.fill_buffer()?;
                }
            }
        }
    }

    /// Replaces the consumed buffer by the bytes that come next.
    fn fill_buffer(&mut self) -> Result<()> {
        match self.stream.read(&mut self.buffer).context("receive")? {
            0 => bail!("the service closed the connection within a response"),
            count => {
                self.unread = 0..count;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Sends one request to a server that reads it and writes these bytes.
    fn exchange(response: &'static [u8]) -> Result<Body> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let service = Service::agent(listener.local_addr()?);
        let server = thread::spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                request.extend(byte);
            }
            stream.write_all(response)
        });
        let body = service.connect()?.get("/health");
        server.join().expect("the server does not panic")?;
        body
    }

    #[test]
    fn bodies_of_either_framing_are_read_to_their_end() {
        for response in [
            b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\"code\":0".as_slice(),
            b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\"code\r\n3\r\n\":0\r\n0\r\n\r\n",
        ] {
            let body = exchange(response).unwrap();
            assert!(body.length() == 8 && body.is_success(), "{body:?}");
        }
    }

    #[test]
    fn failed_and_truncated_responses_are_errors() {
        for response in [
            b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".as_slice(),
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"SMTP ready\r\n\r\n",
        ] {
            assert!(exchange(response).is_err(), "{}", String::from_utf8_lossy(response));
        }
    }

    #[test]
    fn a_long_body_keeps_its_length_and_its_end() {
        let mut body = Body::default();
        (0..10 * TAIL).for_each(|_| body.append(b"0123456789"));
        assert_eq!((body.length(), body.tail().len()), (100 * TAIL as u64, TAIL));
        assert!(body.tail().ends_with(b"6789"));
    }
}
