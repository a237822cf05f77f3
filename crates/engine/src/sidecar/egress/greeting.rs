//! The name that a connection's first bytes give: that of a TLS ClientHello's SNI (RFC 6066), or of an HTTP request's Host.

use std::io;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Limit of a greeting that is looked at, in bytes.
const LIMIT: usize = 128 * 1024;

/// How long a client has for its greeting on the ports of HTTP, where it speaks first.
const HTTP_WAIT: Duration = Duration::from_secs(3);

/// How long a client has on other ports, where the server may speak first.
const OTHER_WAIT: Duration = Duration::from_millis(100);

/// What a client sent first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Greeting {
    /// The bytes, which are still to be forwarded.
    pub(super) bytes: Vec<u8>,
    /// The server's name, if they give one.
    pub(super) name: Option<Name>,
}

/// A server's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Of a TLS handshake.
    Tls(String),
    /// Of an HTTP request.
    Http(String),
}

/// Reads until the name is there, or it is clear that none comes, or the time is over.
pub(super) async fn read(client: &mut TcpStream, port: u16) -> io::Result<Greeting> {
    let wait = if matches!(port, 80 | 443) { HTTP_WAIT } else { OTHER_WAIT };
    let deadline = Instant::now() + wait;
    let mut bytes = Vec::new();
    while bytes.len() < LIMIT {
        match timeout_at(deadline, client.read_buf(&mut bytes)).await {
            Err(_) | Ok(Ok(0)) => break,
            Ok(read) => drop(read?),
        }
        match parse(&bytes, port) {
            Parsed::Incomplete => {}
            Parsed::Complete(name) => return Ok(Greeting { bytes, name }),
        }
    }
    Ok(Greeting { bytes, name: None })
}

enum Parsed {
    Incomplete,
    Complete(Option<Name>),
}

fn parse(bytes: &[u8], port: u16) -> Parsed {
    match bytes.first() {
        None => Parsed::Incomplete,
        // The record type of a handshake (RFC 8446, 5.1).
        Some(22) => server_name(bytes),
        Some(_) if port == 80 => host(bytes),
        Some(_) => Parsed::Complete(None),
    }
}

fn server_name(mut bytes: &[u8]) -> Parsed {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).is_err() {
            return Parsed::Complete(None);
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                return Parsed::Complete(accepted.client_hello().server_name().map(|name| Name::Tls(name.to_owned())));
            }
            Err(_) => return Parsed::Complete(None),
        }
    }
    Parsed::Incomplete
}

fn host(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => Parsed::Incomplete,
        Ok(httparse::Status::Complete(_)) => {
            let host = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
            let host = host.and_then(|header| std::str::from_utf8(header.value).ok());
            Parsed::Complete(host.map(|host| Name::Http(host.trim().to_owned())))
        }
        Err(_) => Parsed::Complete(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8], port: u16) -> Option<Option<Name>> {
        match parse(bytes, port) {
            Parsed::Incomplete => None,
            Parsed::Complete(name) => Some(name),
        }
    }

    #[test]
    fn a_host_is_found_once_the_head_is_complete() {
        let request = b"GET /a HTTP/1.1\r\nAccept: */*\r\nhOST:  example.com:80 \r\n\r\n";
        assert_eq!(name(request, 80), Some(Some(Name::Http("example.com:80".to_owned()))));
        assert_eq!(name(&request[..20], 80), None);
        assert_eq!(name(request, 8080), Some(None), "only port 80 is known to speak HTTP");
        assert_eq!(name(b"GET / HTTP/1.0\r\n\r\n", 80), Some(None));
        assert_eq!(name(b"\x00\xffgarbage\r\n\r\n", 80), Some(None));
        assert_eq!(name(b"SSH-2.0-OpenSSH\r\n", 22), Some(None));
    }

    #[test]
    fn a_server_name_is_found_in_any_cut_of_a_client_hello() {
        let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let mut client = rustls::ClientConnection::new(config.into(), "registry.example".try_into().unwrap()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        assert_eq!(name(&hello, 8443), Some(Some(Name::Tls("registry.example".to_owned()))));
        for end in 1..hello.len() {
            assert_eq!(name(&hello[..end], 443), None, "{end} of {}", hello.len());
        }
        assert_eq!(name(b"\x16\x03\x01\x00\x05hello", 443), Some(None));
    }
}
