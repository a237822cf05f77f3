//! Whether a port of the sandbox answers.

use std::{io, net::IpAddr, ops::RangeInclusive, time::Duration};

use cabana_protocol::{Error, names::invalid_field, process::Http};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    port,
    threads::{self, Length},
};

/// How long a connection may take.
const CONNECTION: Duration = Duration::from_secs(1);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Longest path that is asked for, in bytes.
const PATH_BYTES: usize = 2_048;

/// Most bytes of an answer that are read. Its first ones tell the status.
const STATUS_LINE_BYTES: usize = "HTTP/1.1 200".len();

/// Statuses that will do where the caller names none.
const STATUSES: RangeInclusive<u16> = 200..=399;

/// What to ask of a port that accepts a connection.
#[derive(Debug)]
pub(super) struct Probe {
    port: u16,
    http: Option<(String, RangeInclusive<u16>)>,
}

impl Probe {
    /// Fails with `invalid_request` for a path or statuses that HTTP does not have.
    pub(super) fn new(port: u16, http: Option<Http>) -> Result<Self, Error> {
        let http = http.map(|Http { path, status }| {
            let path = path.unwrap_or_else(|| "/".to_owned());
            if !path.starts_with('/') || path.len() > PATH_BYTES || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(invalid_field(
                    "until.http.path",
                    &format!("at most {PATH_BYTES} printable characters, the first of them a slash"),
                ));
            }
            match status.map_or(STATUSES, |[from, to]| from..=to) {
                status if !status.is_empty() && *status.start() >= 100 && *status.end() <= 599 => Ok((path, status)),
                _ => Err(invalid_field("until.http.status", "[from, to], each 100 to 599")),
            }
        });
        Ok(Self { port, http: http.transpose()? })
    }

    /// Probes once, on every loopback address on which something listens. `None` where nothing accepts a connection,
    /// or the answer is not the one that is waited for; else the answer's status, which is `Some(None)` where none was asked for.
    pub(super) async fn attempt(&self) -> Option<Option<u16>> {
        let port = self.port;
        let addresses = threads::run(Length::Short, move || port::loopback(port)).await.unwrap_or_default();
        let mut attempts: FuturesUnordered<_> = addresses.into_iter().map(|address| self.attempt_at(address)).collect();
        while let Some(attempt) = attempts.next().await {
            if attempt.is_some() {
                return attempt;
            }
        }
        None
    }

    async fn attempt_at(&self, address: IpAddr) -> Option<Option<u16>> {
        let connection = timeout(CONNECTION, TcpStream::connect((address, self.port))).await.ok()?.ok()?;
        let Some((path, wanted)) = &self.http else { return Some(None) };
        let line = timeout(ANSWER, get(connection, self.port, path)).await.ok()?.ok()?;
        status(&line).filter(|status| wanted.contains(status)).map(Some)
    }
}

/// Asks for a path and reads as much of the answer as tells its status.
async fn get(mut connection: TcpStream, port: u16, path: &str) -> io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut line = Vec::with_capacity(STATUS_LINE_BYTES);
    connection.take(STATUS_LINE_BYTES as u64).read_to_end(&mut line).await?;
    Ok(line)
}

/// The status of an answer that begins like this.
fn status(line: &[u8]) -> Option<u16> {
    let digits = line.strip_prefix(b"HTTP/1.0 ").or_else(|| line.strip_prefix(b"HTTP/1.1 "))?;
    let digits = digits.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_tells_the_status() {
        for (line, expected) in [
            (b"HTTP/1.1 200".as_slice(), Some(200)),
            (b"HTTP/1.0 404 Not Found\r\n", Some(404)),
            (b"HTTP/1.1 20", None),
            (b"HTTP/1.1 +20", None),
            (b"HTTP/2 200 OK", None),
            (b"SSH-2.0-OpenSSH", None),
            (b"", None),
        ] {
            assert_eq!(status(line), expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn what_http_does_not_have_is_refused() {
        let ask = |path: Option<&str>, status| Probe::new(1, Some(Http { path: path.map(str::to_owned), status }));
        assert_eq!(ask(None, None).unwrap().http, Some(("/".to_owned(), 200..=399)));
        assert_eq!(ask(Some("/a?b=c"), Some([404, 404])).unwrap().http, Some(("/a?b=c".to_owned(), 404..=404)));
        let long = format!("/{}", "a".repeat(PATH_BYTES));
        for path in ["", "a", "/a b", "/a\r\nX: y", "/\u{e9}", &long] {
            assert!(ask(Some(path), None).is_err(), "{path:?}");
        }
        for status in [[300, 200], [0, 200], [200, 600]] {
            assert!(ask(None, Some(status)).is_err(), "{status:?}");
        }
    }
}
