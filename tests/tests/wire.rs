//! Malformed HTTP and malformed WebSocket traffic: it is refused, and harms nobody.

use cabana_tests::{Kind, PATIENCE, Sandbox, Target, http1, in_kind, in_sandbox};
use futures_util::{future::join_all, stream};
use reqwest::{Body, Method};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A command whose execution shows.
const HARM: &str = r#"{"command":"touch harmed"}"#;

/// The most that the agent may grow by for a hostile connection, in KiB.
const GROWTH_KIB: u64 = 8 << 10;

/// Checks an answer to malformed HTTP: the agent gives this status. In front of the gateway each runtime has a status of its own (wrangler's
/// proxy says 500 of a body that breaks), or closes the connection without an answer.
fn check_refusal(answer: &str, status: u16, what: &str) {
    match Target::get() {
        Target::Agent | Target::Image => assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer:?}"),
        Target::Stack => assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 500 "),
            "{what}: {answer:?}"
        ),
    }
}

#[tokio::test]
async fn malformed_http_is_refused_and_ends_the_connection() {
    in_sandbox(async |sandbox| {
        let request = sandbox.request(Method::POST, "/exec").build().unwrap();
        let head = |fields: &str| http1::head(&request, fields);
        let (length, many) = (HARM.len(), "X-A: b\r\n".repeat(10_000));
        let long = "a".repeat(1 << 20);
        for (what, status, head, body) in [
            ("two lengths", 400, head(&format!("Content-Length: {length}\r\nContent-Length: 3\r\n")), HARM.to_owned()),
            ("a length with a sign", 400, head(&format!("Content-Length: +{length}\r\n")), HARM.to_owned()),
            ("a length beyond all numbers", 400, head("Content-Length: 99999999999999999999999\r\n"), HARM.to_owned()),
            ("a space before a colon", 400, head(&format!("Content-Length : {length}\r\n")), HARM.to_owned()),
            ("a coding after chunked", 400, head("Transfer-Encoding: chunked, gzip\r\n"), HARM.to_owned()),
            ("a chunk beyond all numbers", 400, head("Transfer-Encoding: chunked\r\n"), format!("ffffffffffffffff1\r\n{HARM}")),
            ("a carriage return alone", 400, head(&format!("X-A: b\rContent-Length: {length}\r\n")), HARM.to_owned()),
            ("ten thousand fields", 431, head(&many), String::new()),
            ("a field of a MiB", 431, head(&format!("X-A: {long}\r\n")), String::new()),
            ("a path of a MiB", 431, head("").replacen("/exec", &format!("/exec/{long}"), 1), String::new()),
        ] {
            let mut stream = http1::dial(&request).await;
            // It may be refused before all of it is written.
            let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes()).await;
            // The agent closes the connection; a runtime in front of the gateway may keep it.
            let enough: &[&str] = if Target::get().is_direct() { &[] } else { &["\r\n\r\n"] };
            let answer = http1::read_until(&mut stream, enough).await;
            check_refusal(&answer, status, what);
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

/// The head of the answer to a handshake with these fields on top, and the connection.
async fn shake_hands(sandbox: &Sandbox, fields: &str) -> (String, TcpStream) {
    let request = sandbox.request(Method::GET, "/connect").build().unwrap();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut stream = http1::dial(&request).await;
    stream.write_all(http1::head(&request, &format!("{upgrade}{fields}\r\n")).as_bytes()).await.unwrap();
    // The `ready` frame names the operations.
    let answer = http1::read_until(&mut stream, &["operations"]).await;
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), stream)
}

/// A WebSocket, past its handshake and its `ready` frame.
async fn open(sandbox: &Sandbox) -> TcpStream {
    let (head, stream) = shake_hands(sandbox, "").await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    stream
}

/// The code of the close frame that these bytes end with, if they end with one.
fn close_code(bytes: &[u8]) -> Option<u16> {
    let at = bytes.windows(2).rposition(|head| head[0] == 0x88 && (2..126).contains(&head[1]))?;
    (at + 2 + usize::from(bytes[at + 1]) == bytes.len()).then(|| u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]))
}

#[tokio::test]
async fn malformed_websocket_frames_close_the_connection() {
    in_sandbox(async |sandbox| {
        let before = sandbox.memory_kib().await;
        let cases = [
            ("a frame without a mask", 1002, vec![0x81, 0x02, b'{', b'}']),
            ("a compressed frame", 1002, frame(0xc1, "{}")),
            ("a frame of no kind", 1002, frame(0x83, "{}")),
            ("a continuation of nothing", 1002, frame(0x80, "{}")),
            ("a ping in parts", 1002, frame(0x09, "x")),
            ("a ping of 126 bytes", 1002, [&[0x89, 0xfe, 0, 126, 0, 0, 0, 0][..], &[b'x'; 126]].concat()),
            ("text that is not UTF-8", 1007, vec![0x81, 0x81, 0, 0, 0, 0, 0xff]),
            ("a frame larger than all memory", 1009, [&[0x81, 0xff, 0x7f][..], &[0xff; 7], &[0; 4], b"{"].concat()),
        ];
        // All at once: a hop may wait for some time before it gives one up.
        let count = cases.len() as u64;
        join_all(cases.map(async |(what, code, bytes)| {
            let mut stream = open(sandbox).await;
            // It may be closed before that is written.
            let _ = stream.write_all(&[bytes, frame(0x81, r#"{"type":"ping"}"#)].concat()).await;
            // The agent closes the connection; a runtime in front of the gateway may answer and keep it.
            let enough: &[&str] = if Target::get().is_direct() { &[] } else { &[r#""type":"error""#, r#""type":"pong""#] };
            let answer = http1::read_bytes_until(&mut stream, enough).await;
            let text = String::from_utf8_lossy(&answer);
            assert!(!text.contains(r#""type":"result""#), "{what}: {text}");
            assert!(Target::get() == Target::Stack || !text.contains(r#""type":"pong""#), "{what}: {text}");
            // The agent alone closes the connection without a word; a code that comes is the right one.
            assert!(close_code(&answer).is_none_or(|found| found == code), "{what}: {:?}", close_code(&answer));
        }))
        .await;
        assert_eq!(sandbox.shell("echo fine").await, "fine\n");
        let grown = sandbox.memory_kib().await.saturating_sub(before);
        assert!(grown < count * GROWTH_KIB, "{grown} KiB");
    })
    .await;
}

#[tokio::test]
async fn frames_in_many_parts_and_floods_of_pings_are_answered() {
    in_sandbox(async |sandbox| {
        let before = sandbox.memory_kib().await;
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
        let grown = sandbox.memory_kib().await.saturating_sub(before);
        assert!(grown < 2 * GROWTH_KIB, "{grown} KiB");
    })
    .await;
}

#[tokio::test]
async fn a_frame_that_breaks_off_is_not_carried_out() {
    in_sandbox(async |sandbox| {
        let whole = frame(0x81, &format!(r#"{{"type":"exec","id":"1","payload":{HARM}}}"#));
        join_all([1, 2, 5, 20].map(async |cut| {
            let mut stream = open(sandbox).await;
            stream.write_all(&whole[..whole.len() - cut]).await.unwrap();
            stream.shutdown().await.unwrap();
            http1::read_until(&mut stream, &[]).await;
        }))
        .await;
        assert_eq!(sandbox.shell("ls -A").await, "");
    })
    .await;
}

/// A body of JSON that is so long.
fn body(bytes: u64) -> String {
    let beginning = r#"{"command":["true",""#;
    let end = r#""]}"#;
    format!("{beginning}{}{end}", "x".repeat(usize::try_from(bytes).unwrap() - beginning.len() - end.len()))
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_refused() {
    in_kind(Kind::Tight, async |sandbox| {
        let limit = Kind::Tight.limit("CABANA_MAX_REQUEST_BYTES");
        for (bytes, accepted) in [(limit, true), (limit + 1, false)] {
            for chunked in [false, true] {
                let request = sandbox.request(Method::POST, "/exec").header("content-type", "application/json");
                let request = match chunked {
                    false => request.body(body(bytes)),
                    true => request.body(Body::wrap_stream(stream::iter([Ok::<_, std::io::Error>(body(bytes))]))),
                };
                let answer = sandbox.send(request).await;
                let what = format!("{bytes} bytes, chunked: {chunked}");
                if accepted {
                    assert_eq!(answer.json()["exit"]["code"], 0, "{what}");
                } else {
                    assert_eq!(answer.code(), "payload_too_large", "{what}");
                    assert_eq!(answer.json()["error"]["details"]["limit_bytes"], limit, "{what}");
                }
            }
        }
    })
    .await;
}

/// Attacks by HTTP/2 (rapid resets, endless CONTINUATIONs, empty DATA) need a server that speaks it.
#[tokio::test]
async fn http_2_is_not_spoken() {
    in_sandbox(async |sandbox| {
        let request = sandbox.request(Method::POST, "/exec").build().unwrap();
        let body = r#"{"command":"echo fine"}"#;
        let mut stream = http1::dial(&request).await;
        // What begins every connection of HTTP/2, and an empty SETTINGS frame.
        let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
        let _ = stream.write_all(&preface).await;
        let said = http1::read_until(&mut stream, &[]).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said:?}");

        let upgrade =
            "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
        let mut stream = http1::dial(&request).await;
        let head = http1::head(&request, &format!("{upgrade}Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let said = http1::read_until(&mut stream, &["fine"]).await;
        assert!(said.starts_with("HTTP/1.1 ") && !said.starts_with("HTTP/1.1 1"), "no hop switches to it: {said:?}");
    })
    .await;
    let linked = include_str!("../../Cargo.lock").lines().any(|line| line == r#"name = "h2""#);
    assert!(!linked, "h2 is linked: it must be 0.4.16 at least, have its limits set, and cases of its own");
}

/// In front of the gateway each runtime frames requests and takes offers of compression by rules of its own.
mod agent_only {
    use super::*;

    /// A request that one hop could take for two, because it has two lengths or odd line ends. It may be refused; if it is carried out, the
    /// connection ends with it, so that nothing behind it counts as a request.
    #[tokio::test]
    async fn ambiguous_framing_carries_no_second_request() {
        in_sandbox(async |sandbox| {
            let request = sandbox.request(Method::POST, "/exec").build().unwrap();
            let second = format!("{}{HARM}", http1::head(&request, &format!("Content-Length: {}\r\n\r\n", HARM.len())));
            let first = r#"{"command":"true"}"#;
            let length = first.len();
            let chunked = format!("{length:x}\r\n{first}\r\n0\r\n\r\n");
            let all = chunked.len() + second.len();
            let chunks = "Transfer-Encoding: chunked\r\n";
            for (what, fields, body) in [
                ("a length of all and chunks", format!("Content-Length: {all}\r\n{chunks}"), chunked.clone()),
                ("chunks and a length of all", format!("{chunks}Content-Length: {all}\r\n"), chunked.clone()),
                ("chunks and a short length", format!("{chunks}Content-Length: 3\r\n"), chunked),
                ("a chunk's size before a line feed", chunks.to_owned(), format!("{length:x}\n{first}\r\n0\r\n\r\n")),
                ("a line feed in a chunk's extension", chunks.to_owned(), format!("{length:x};a\nb\r\n{first}\r\n0\r\n\r\n")),
            ] {
                let mut stream = http1::dial(&request).await;
                let bytes = format!("{}\r\n{body}{second}", http1::head(&request, &fields));
                // It may be refused before all of it is written.
                let _ = stream.write_all(bytes.as_bytes()).await;
                let answers = http1::read_until(&mut stream, &[]).await;
                assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{what}: {answers}");
                assert_eq!(sandbox.shell("ls -A").await, "", "{what}: {answers}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn offers_of_compression_are_not_taken() {
        in_sandbox(async |sandbox| {
            let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=15\r\n";
            let (head, mut stream) = shake_hands(sandbox, offer).await;
            assert!(head.starts_with("http/1.1 101") && !head.contains("sec-websocket-extensions"), "{head}");
            stream.write_all(&frame(0x81, r#"{"type":"ping"}"#)).await.unwrap();
            assert!(http1::read_until(&mut stream, &[r#""type":"pong""#]).await.contains("pong"), "it goes on without");
        })
        .await;
    }
}
