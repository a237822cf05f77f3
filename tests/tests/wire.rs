//! Bytes that are no proper HTTP, or no proper WebSocket: they are refused, and harm nobody.

use cabana_tests::{PATIENCE, Sandbox, in_sandbox};
use futures_util::future::join_all;
use reqwest::{Method, Request, header::AUTHORIZATION};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Carried out, it would be seen.
const HARM: &str = r#"{"command":"touch harmed"}"#;

/// The head of a request to this route, but for the blank line.
fn head(request: &Request, headers: &str) -> String {
    let (url, key) = (request.url(), request.headers()[AUTHORIZATION].to_str().unwrap());
    format!("{} {} HTTP/1.1\r\nHost: {}\r\nAuthorization: {key}\r\n{headers}", request.method(), url.path(), url.authority())
}

async fn dial(request: &Request) -> TcpStream {
    let url = request.url();
    TcpStream::connect((url.host_str().unwrap(), url.port_or_known_default().unwrap())).await.unwrap()
}

/// What comes back until it says one of these, or until the connection ends.
async fn read(stream: &mut TcpStream, enough: &[&str]) -> String {
    let mut said = Vec::new();
    let reading = async {
        while !enough.iter().any(|enough| String::from_utf8_lossy(&said).contains(enough)) {
            // A connection that is reset has ended as well.
            if stream.read_buf(&mut said).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("an answer, or the end");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn what_is_no_proper_http_is_refused() {
    in_sandbox(async |sandbox| {
        let request = sandbox.request(Method::POST, "/exec").build().unwrap();
        let (length, many) = (HARM.len(), "X-A: b\r\n".repeat(10_000));
        let long = "a".repeat(1 << 20);
        for (what, head, body) in [
            ("two lengths", head(&request, &format!("Content-Length: {length}\r\nContent-Length: 3\r\n")), HARM.to_owned()),
            ("a length with a sign", head(&request, &format!("Content-Length: +{length}\r\n")), HARM.to_owned()),
            ("a length beyond all numbers", head(&request, "Content-Length: 99999999999999999999999\r\n"), HARM.to_owned()),
            ("a space before a colon", head(&request, &format!("Content-Length : {length}\r\n")), HARM.to_owned()),
            ("a coding after chunked", head(&request, "Transfer-Encoding: chunked, gzip\r\n"), HARM.to_owned()),
            (
                "a chunk beyond all numbers",
                head(&request, "Transfer-Encoding: chunked\r\n"),
                format!("ffffffffffffffff1\r\n{HARM}"),
            ),
            ("ten thousand headers", head(&request, &many), String::new()),
            ("a header of a MiB", head(&request, &format!("X-A: {long}\r\n")), String::new()),
            ("a path of a MiB", head(&request, "").replacen("/exec", &format!("/exec/{long}"), 1), String::new()),
        ] {
            let mut stream = dial(&request).await;
            // It may be refused before all of it is written.
            let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes()).await;
            let said = read(&mut stream, &["\r\n\r\n"]).await;
            // In front of the gateway, each runtime has its own words.
            assert!(said.is_empty() || !said.starts_with("HTTP/1.1 2"), "{what}: {said}");
        }
        assert_eq!(sandbox.shell("ls -A").await, "");
    })
    .await;
}

/// A frame of a client, masked by zeros.
fn frame(first: u8, payload: &str) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload.as_bytes()].concat()
}

/// A WebSocket, past its handshake and its `ready` frame.
async fn open(sandbox: &Sandbox) -> TcpStream {
    let request = sandbox.request(Method::GET, "/connect").build().unwrap();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut stream = dial(&request).await;
    stream.write_all(head(&request, upgrade).as_bytes()).await.unwrap();
    assert!(read(&mut stream, &["operations"]).await.starts_with("HTTP/1.1 101"));
    stream
}

#[tokio::test]
async fn what_is_no_proper_websocket_ends_it_or_is_passed_over() {
    in_sandbox(async |sandbox| {
        let cases = [
            ("a frame without a mask", vec![0x81, 0x02, b'{', b'}']),
            ("a reserved bit", frame(0xc1, "{}")),
            ("a frame of no kind", frame(0x83, "{}")),
            ("the middle of nothing", frame(0x80, "{}")),
            ("a ping in parts", frame(0x09, "x")),
            ("text that is none", vec![0x81, 0x81, 0, 0, 0, 0, 0xff]),
            ("a frame larger than all memory", [&[0x81, 0xff, 0x7f][..], &[0xff; 7], &[0; 4], b"{"].concat()),
        ];
        // All at once: a hop may wait for some time before it gives one up.
        join_all(cases.map(async |(what, bytes)| {
            let mut stream = open(sandbox).await;
            // It may be closed before that is written.
            let _ = stream.write_all(&[bytes, frame(0x81, r#"{"type":"ping"}"#)].concat()).await;
            let said = read(&mut stream, &[r#""type":"error""#, r#""type":"pong""#]).await;
            assert!(!said.contains(r#""type":"result""#), "{what}: {said}");
        }))
        .await;
        assert_eq!(sandbox.shell("echo fine").await, "fine\n");
    })
    .await;
}

#[tokio::test]
async fn what_is_odd_but_proper_is_answered() {
    in_sandbox(async |sandbox| {
        let parts = [frame(0x01, r#"{"type":"ping""#), frame(0x00, " ").repeat(100_000), frame(0x80, "}")].concat();
        let pings = [frame(0x89, "x").repeat(10_000), frame(0x81, r#"{"type":"ping"}"#)].concat();
        for (what, bytes) in [("a frame in 100,000 parts", parts), ("10,000 pings", pings)] {
            let (mut reader, mut writer) = open(sandbox).await.into_split();
            let writing = async { writer.write_all(&bytes).await.unwrap() };
            let reading = async {
                let mut said = Vec::new();
                while !String::from_utf8_lossy(&said).contains(r#""type":"pong""#) {
                    assert_ne!(reader.read_buf(&mut said).await.unwrap(), 0, "{what}: it was closed");
                }
            };
            timeout(PATIENCE, async { tokio::join!(writing, reading) }).await.expect(what);
        }
    })
    .await;
}

#[tokio::test]
async fn a_frame_that_breaks_off_is_none() {
    in_sandbox(async |sandbox| {
        let whole = frame(0x81, &format!(r#"{{"type":"exec","id":"1","payload":{HARM}}}"#));
        join_all([1, 2, 5, 20].map(async |cut| {
            let mut stream = open(sandbox).await;
            stream.write_all(&whole[..whole.len() - cut]).await.unwrap();
            stream.shutdown().await.unwrap();
            read(&mut stream, &[]).await;
        }))
        .await;
        assert_eq!(sandbox.shell("ls -A").await, "");
    })
    .await;
}

/// Its attacks (rapid resets, endless CONTINUATIONs, empty DATA) find nobody who speaks it.
#[tokio::test]
async fn nobody_speaks_http_2() {
    in_sandbox(async |sandbox| {
        let request = sandbox.request(Method::POST, "/exec").build().unwrap();
        let body = r#"{"command":"echo fine"}"#;
        let mut stream = dial(&request).await;
        // What begins every connection of HTTP/2, and an empty SETTINGS frame.
        let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
        let _ = stream.write_all(&preface).await;
        let said = read(&mut stream, &[]).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said:?}");

        let upgrade =
            "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
        let mut stream = dial(&request).await;
        let head = head(&request, &format!("{upgrade}Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let said = read(&mut stream, &["fine"]).await;
        assert!(said.starts_with("HTTP/1.1 ") && !said.starts_with("HTTP/1.1 1"), "no hop switches to it: {said:?}");
    })
    .await;
    let linked = include_str!("../../Cargo.lock").lines().any(|line| line == r#"name = "h2""#);
    assert!(!linked, "h2 is linked: it must be 0.4.16 at least, have its limits set, and cases of its own");
}
