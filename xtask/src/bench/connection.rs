//! HTTP/1.1 in as few instructions as it takes: a client that did more would measure itself.

mod socket;

pub(super) use socket::Socket;

use super::agent::SECRET;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

/// Bytes read at once.
const BUFFER: usize = 1 << 20;
/// One value at the end.
pub(super) const JSON: &str = "application/json";
/// A line for each event.
pub(super) const NDJSON: &str = "application/x-ndjson";
/// Bytes of a body that are kept: its end, where a stream says how it went.
const TAIL: usize = 4 << 10;

/// Where a service is, and how it lets us in.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) address: SocketAddr,
    /// What its routes come after.
    pub(super) base: String,
    pub(super) key: String,
}

impl Service {
    /// An agent.
    pub(super) fn agent(address: SocketAddr) -> Self {
        Self { address, base: "/v1".to_owned(), key: SECRET.to_owned() }
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        Connection::open(self)
    }
}

/// One connection, kept alive over its requests.
pub(super) struct Connection {
    service: Service,
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer has been received and not been looked at.
    unread: std::ops::Range<usize>,
}

/// A whole answer of status 200 or 201, or a frame.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Length of the body.
    pub(super) length: u64,
    /// Its end.
    tail: Vec<u8>,
}

impl Answer {
    /// The end of the body, at most 4 KiB of it.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail[self.tail.len().saturating_sub(TAIL)..]
    }

    /// Whether it is that of a command that exited with 0.
    pub(super) fn is_success(&self) -> bool {
        self.tail().windows(8).any(|part| part == br#""code":0"#)
    }

    fn take(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL)..]);
        if self.tail.len() > 4 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
    }
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy)]
enum Body {
    Length(u64),
    Chunked,
}

impl Connection {
    fn open(service: &Service) -> Result<Self> {
        let stream = TcpStream::connect(service.address).context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { service: service.clone(), stream, buffer: vec![0; BUFFER], unread: 0..0 })
    }

    pub(super) fn get(&mut self, target: &str) -> Result<Answer> {
        self.send("GET", target, "", "")?;
        self.answer()
    }

    /// Asks for an operation, with its request as JSON, and takes in what comes back in the form of this media type.
    pub(super) fn post(&mut self, operation: &str, request: &str, accept: &str) -> Result<Answer> {
        self.send_operation(operation, request, accept)?;
        self.answer()
    }

    /// Asks for an operation that may be refused, and gives the status.
    pub(super) fn attempt(&mut self, operation: &str, request: &str) -> Result<u16> {
        self.send_operation(operation, request, JSON)?;
        let (status, body) = self.any_head()?;
        self.take_body(body)?;
        Ok(status)
    }

    /// The same, but takes in no more than the first line of the stream that comes back.
    pub(super) fn listen(&mut self, operation: &str, request: &str) -> Result<()> {
        self.send_operation(operation, request, NDJSON)?;
        self.head()?;
        self.chunk()?;
        self.line().map(drop)
    }

    /// Runs a command, given as JSON.
    pub(super) fn exec(&mut self, command: &str, accept: &str) -> Result<Answer> {
        self.post("exec", &format!("{{\"command\":{command}}}"), accept)
    }

    /// Runs a command, given as JSON, that is to exit with 0.
    pub(super) fn run(&mut self, command: &str) -> Result<()> {
        let answer = self.exec(command, JSON)?;
        ensure!(answer.is_success(), "{command} failed");
        Ok(())
    }

    /// Sends `piece` as often as it takes to make a body of this length.
    pub(super) fn put(&mut self, target: &str, length: u64, piece: &[u8]) -> Result<Answer> {
        self.send("PUT", target, &format!("content-length: {length}\r\n"), "")?;
        let mut left = length;
        while left > 0 {
            let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.stream.write_all(&piece[..count]).context("send the body")?;
            left -= count as u64;
        }
        self.answer()
    }

    /// Sends what a file holds.
    pub(super) fn put_file(&mut self, target: &str, file: &Path) -> Result<Answer> {
        let mut file = File::open(file).with_context(|| format!("open {}", file.display()))?;
        let length = file.metadata()?.len();
        self.send("PUT", target, &format!("content-length: {length}\r\n"), "")?;
        while let count @ 1.. = file.read(&mut self.buffer)? {
            self.stream.write_all(&self.buffer[..count]).context("send the body")?;
        }
        self.answer()
    }

    /// A connection that speaks the WebSocket protocol from now on.
    pub(super) fn upgrade(self) -> Result<Socket> {
        Socket::open(self)
    }

    fn send_operation(&mut self, operation: &str, request: &str, accept: &str) -> Result<()> {
        let length = request.len();
        self.send(
            "POST",
            &format!("{}/{operation}", self.service.base),
            &format!("accept: {accept}\r\ncontent-length: {length}\r\n"),
            request,
        )
    }

    fn send(&mut self, method: &str, target: &str, fields: &str, body: &str) -> Result<()> {
        let Service { address, key, .. } = &self.service;
        let request =
            format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n{fields}\r\n{body}");
        self.stream.write_all(request.as_bytes()).context("send a request")
    }

    fn answer(&mut self) -> Result<Answer> {
        let body = self.head()?;
        self.take_body(body)
    }

    fn take_body(&mut self, body: Body) -> Result<Answer> {
        let mut answer = Answer::default();
        match body {
            Body::Length(length) => self.body(length, &mut answer)?,
            Body::Chunked => {
                while let length @ 1.. = self.chunk()? {
                    self.body(length, &mut answer)?;
                    self.line()?;
                }
                self.line()?;
            }
        }
        Ok(answer)
    }

    fn head(&mut self) -> Result<Body> {
        let (status, body) = self.any_head()?;
        ensure!(matches!(status, 200..=209), "the answer's status is {status}");
        Ok(body)
    }

    /// The head of an answer of whatever status.
    fn any_head(&mut self) -> Result<(u16, Body)> {
        let line = self.line()?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.with_context(|| format!("not the first line of an answer: {line:?}"))?;
        let mut body = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                Some(("content-length", length)) => body = Some(Body::Length(length.trim().parse()?)),
                Some(("transfer-encoding", _)) => body = Some(Body::Chunked),
                Some(_) => {}
                None => return Ok((status, body.context("the answer does not say how long it is")?)),
            }
        }
    }

    /// The length of the next chunk.
    fn chunk(&mut self) -> Result<u64> {
        let line = self.line()?;
        u64::from_str_radix(&line, 16).with_context(|| format!("not a chunk's length: {line:?}"))
    }

    fn body(&mut self, length: u64, answer: &mut Answer) -> Result<()> {
        let mut left = length;
        while left > 0 {
            if self.unread.is_empty() {
                self.receive()?;
            }
            let count = self.unread.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            answer.take(&self.buffer[self.unread.start..self.unread.start + count]);
            self.unread.start += count;
            left -= count as u64;
        }
        Ok(())
    }

    /// A line without its line break.
    fn line(&mut self) -> Result<String> {
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
                    self.receive()?;
                }
            }
        }
    }

    /// Replaces the buffer by what comes next.
    fn receive(&mut self) -> Result<()> {
        match self.stream.read(&mut self.buffer).context("receive")? {
            0 => bail!("the agent broke off"),
            count => {
                self.unread = 0..count;
                Ok(())
            }
        }
    }
}
