//! Binary frames, for clients that ask for them.

use cabana_tests::{Socket, in_sandbox};
use serde_json::json;

/// Every byte there is.
fn all() -> Vec<u8> {
    (0..=255).collect()
}

/// The code of the error that comes next.
async fn code(socket: &mut Socket) -> String {
    loop {
        let (frame, _) = socket.next_of_any_kind().await;
        if frame["type"] == "error" {
            return frame["payload"]["code"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn output_arrives_in_binary_frames() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect_with("?binary=1").await.unwrap();
        socket.send("exec", "a", json!({ "command": r"printf 'text\377\0'; sleep 0.1; printf '\376' >&2" })).await;
        let (printed, result) = socket.output_bytes("a").await;
        assert_eq!((printed.as_slice(), &result["exit"]["code"]), (&b"text\xff\0\xfe"[..], &json!(0)));
    })
    .await;
}

#[tokio::test]
async fn input_is_taken_from_binary_frames() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect_with("?binary=true").await.unwrap();
        socket.send("exec", "cat", json!({ "command": "cat", "stdin": { "stream": true } })).await;
        socket.send_binary("input", "cat", json!({ "type": "stdin", "bytes": "" }), &all()).await;
        socket.send("input", "cat", json!({ "type": "stdin", "bytes": "as text" })).await;
        socket.send_binary("input", "cat", json!({ "type": "eof" }), b"").await;
        let (printed, _) = socket.output_bytes("cat").await;
        assert_eq!(printed, [all().as_slice(), b"as text"].concat());
        socket.send_binary("exec", "whole", json!({ "command": "cat", "stdin": "" }), &all()).await;
        assert_eq!(socket.output_bytes("whole").await.0, all());
    })
    .await;
}

#[tokio::test]
async fn files_are_written_and_read_in_binary_frames() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect_with("?binary=1").await.unwrap();
        for content in [all(), b"text".to_vec(), vec![], vec![0xfe; 3 << 20]] {
            socket.send_binary("file.write", "w", json!({ "path": "a", "content": "" }), &content).await;
            assert_eq!(socket.wait_for("result", "w").await["size_bytes"], content.len());
            socket.send("file.read", "r", json!({ "path": "a" })).await;
            let (frame, bytes) = socket.next_of_any_kind().await;
            assert_eq!((&frame["type"], &frame["id"]), (&json!("result"), &json!("r")));
            assert_eq!(
                (&frame["payload"]["content"], frame["payload"]["size_bytes"].as_u64()),
                (&json!(""), Some(content.len() as u64))
            );
            assert!(bytes == Some(content));
        }
        socket.send("file.read", "r", json!({ "path": "a", "length": 1, "encoding": "base64" })).await;
        assert_eq!(socket.wait_for("result", "r").await["content"], json!({ "base64": "/g==" }), "what was asked for otherwise");
    })
    .await;
}

#[tokio::test]
async fn clients_with_and_without_binary_frames_follow_one_process() {
    in_sandbox(async |sandbox| {
        let (mut binary, mut text) =
            (sandbox.connect_with("?binary=1").await.unwrap(), sandbox.connect_with("?binary=0").await.unwrap());
        let command = json!({ "command": "cat", "stdin": { "stream": true }, "detach": true, "name": "cat" });
        binary.send("exec", "a", command).await;
        binary.output_bytes("a").await;
        binary.send("process.attach", "b", json!({ "process": "cat" })).await;
        text.send("process.attach", "b", json!({ "process": "cat" })).await;
        binary.send_binary("process.input", "c", json!({ "process": "cat", "data": "", "eof": true }), b"\xff").await;
        assert_eq!(binary.output_bytes("b").await.0, b"\xff");
        let mut events = Vec::new();
        while let frame = text.next().await
            && frame["type"] == "event"
        {
            events.push(frame["payload"].clone());
        }
        assert_eq!(events.last().unwrap()["bytes"], json!({ "base64": "/w==" }));
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_of_binary_frames_loses_nothing() {
    in_sandbox(async |sandbox| {
        let mut slow = sandbox.connect_with("?binary=1").await.unwrap();
        let command = "head -c 25000000 /dev/urandom > random; cat random; touch printed";
        slow.send("exec", "bytes", json!({ "command": command })).await;
        let mut other = sandbox.connect().await;
        other.send("exec", "quick", json!({ "command": "echo quick" })).await;
        assert_eq!(other.output("quick").await.0, "quick\n");
        assert_eq!(sandbox.get("printed").await.code(), "not_found", "its command waits for it");
        let (printed, _) = slow.output_bytes("bytes").await;
        assert!(sandbox.get("random").await.success() == printed);
    })
    .await;
}

#[tokio::test]
async fn malformed_binary_frames_are_refused_and_the_socket_survives() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect_with("?binary=1").await.unwrap();
        socket.send("exec", "busy", json!({ "command": "cat", "stdin": { "stream": true } })).await;
        for frame in
            [b"".as_slice(), b"\0\0\0", b"{}", b"\0\0\0\x03{}", b"\xff\xff\xff\xff{}", b"\0\0\0\x02\xff\xfe", b"\0\0\0\x02[]"]
        {
            socket.send_bytes(frame).await;
            assert_eq!(code(&mut socket).await, "invalid_request", "{frame:?}");
        }
        for (kind, id, payload) in [
            ("input", "busy", json!({ "type": "stdin" })),
            ("input", "busy", json!({ "type": "stdin", "bytes": "twice" })),
            ("input", "busy", json!({ "type": "eof" })),
            ("file.write", "x", json!({ "path": "a", "content": "twice" })),
            ("file.stat", "x", json!({ "path": "." })),
            ("exec", "x", json!({ "command": "true" })),
        ] {
            socket.send_binary(kind, id, payload.clone(), b"bytes").await;
            assert_eq!(code(&mut socket).await, "invalid_request", "{kind} {payload}");
        }
        socket.send_binary("file.write", "large", json!({ "path": "a", "content": "" }), &vec![0; 17 << 20]).await;
        assert_eq!(code(&mut socket).await, "payload_too_large");
        socket.send("input", "busy", json!({ "type": "eof" })).await;
        assert_eq!(socket.wait_for("result", "busy").await["exit"]["code"], 0);
    })
    .await;
}

#[tokio::test]
async fn unknown_values_of_binary_are_refused() {
    in_sandbox(async |sandbox| {
        for query in ["?binary=2", "?binary", "?binary=1&binary=0"] {
            assert_eq!(sandbox.connect_with(query).await.err(), Some(Some(400)), "{query}");
        }
    })
    .await;
}
