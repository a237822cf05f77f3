//! The network sidecar that workerd runs beside every container in Docker, for machines that cannot download Cloudflare's.
//!
//! On the address that `--http-ingress-address` names it answers workerd's `CONNECT` with a tunnel to a port of the container, whose
//! network it shares. It intercepts nothing: what the container sends outside goes where Docker's bridge leads, and the certificate of
//! `GET /ca` signs nothing. It uses the standard library only, so one call of rustc builds it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// The most bytes of a request's head, and of a body.
const HEAD: u64 = 64 * 1024;
const BODY: u64 = 1024 * 1024;
/// Longest wait for a port inside, which answers or refuses at once.
const CONNECT: Duration = Duration::from_secs(5);
/// Its private key was deleted when it was made.
const CERTIFICATE: &str = include_str!("egress.pem");

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--http-ingress-address").skip(1);
    let listener = TcpListener::bind(arguments.next().as_deref().unwrap_or("0.0.0.0:39001"))?;
    for stream in listener.incoming().flatten() {
        // A client may disconnect at any time.
        thread::spawn(move || drop(serve(stream)));
    }
    Ok(())
}

/// Answers one request, which is all that a connection carries.
fn serve(outside: TcpStream) -> io::Result<()> {
    outside.set_nodelay(true)?;
    let mut reader = BufReader::new(outside.try_clone()?);
    let head = read_head(&mut reader)?;
    let mut words = head.split_ascii_whitespace();
    match (words.next(), words.next()) {
        (Some("CONNECT"), _) => match field(&head, "x-dst-addr").and_then(|text| text.parse::<SocketAddr>().ok()) {
            Some(destination) => tunnel(outside, reader, destination),
            None => answer(outside, "400 Bad Request", "X-Dst-Addr is not an address with a port\n"),
        },
        (Some("GET"), Some("/ca")) => answer(outside, "200 OK", CERTIFICATE),
        (Some("PUT"), Some("/egress")) => {
            let length = field(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            // Closing a connection with unread bytes would reset it.
            io::copy(&mut reader.take(BODY.min(length)), &mut io::sink())?;
            answer(outside, "204 No Content", "")
        }
        _ => answer(outside, "404 Not Found", "the sidecar has no such route\n"),
    }
}

/// The lines up to the empty one.
fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut head = String::new();
    let mut lines = reader.take(HEAD);
    while lines.read_line(&mut head)? > 0 && !head.ends_with("\r\n\r\n") {}
    Ok(head)
}

/// The value of a header field.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value.trim()))
}

fn answer(mut outside: TcpStream, status: &str, body: &str) -> io::Result<()> {
    // A 204 has no length.
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    write!(outside, "HTTP/1.1 {status}\r\n{length}Connection: close\r\n\r\n{body}")
}

/// Copies both ways until both ends have finished. A half-close is passed on.
fn tunnel(mut outside: TcpStream, mut reader: BufReader<TcpStream>, destination: SocketAddr) -> io::Result<()> {
    let Ok(mut inside) = TcpStream::connect_timeout(&destination, CONNECT) else {
        return answer(outside, "400 Bad Request", "nothing listens there\n");
    };
    inside.set_nodelay(true)?;
    outside.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let mut to_inside = inside.try_clone()?;
    let upwards = thread::spawn(move || {
        let copied = io::copy(&mut reader, &mut to_inside);
        to_inside.shutdown(if copied.is_ok() { Shutdown::Write } else { Shutdown::Both })
    });
    let copied = io::copy(&mut inside, &mut outside);
    outside.shutdown(if copied.is_ok() { Shutdown::Write } else { Shutdown::Both })?;
    let _ = upwards.join();
    Ok(())
}
