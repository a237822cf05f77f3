//! Raw connections to ports and Unix sockets of the sandbox.

use cabana_protocol::port::{CloseReason, Received};
use cabana_tests::{Sandbox, in_sandbox, until};
use reqwest::Method;
use serde_json::json;

/// Starts a server whose first connection is `peer` in this Python, and gives its port.
async fn serve(sandbox: &Sandbox, script: &str) -> u16 {
    let server = format!(
        "import socket, sys, hashlib, os, time\nserver = socket.create_server(('127.0.0.1', 0))\nopen('port.new', 'w').write(str(server.getsockname()[1]))\n\
         os.rename('port.new', 'port')\nwhile True:\n  peer, _ = server.accept()\n  {}\n  peer.close()\n",
        script.replace('\n', "\n  ")
    );
    sandbox.exec(json!({ "command": ["python3", "-c", server], "detach": true })).await;
    let mut port = String::new();
    until("the server listens", async || {
        port = sandbox.shell("cat port 2>/dev/null || true").await;
        !port.is_empty()
    })
    .await;
    sandbox.shell("rm port").await;
    port.trim().parse().unwrap()
}

/// Every byte, in an order of its own.
fn bytes(length: u32) -> Vec<u8> {
    (0..length / 4).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[tokio::test]
async fn each_direction_ends_by_itself_and_bytes_arrive_exactly() {
    in_sandbox(async |sandbox| {
        let script = "data = b''.join(iter(lambda: peer.recv(65536), b''))\npeer.sendall(data[::-1])";
        let port = serve(sandbox, script).await;
        let sent = bytes(6 << 20);
        let send = |accept: &'static str| {
            let request = sandbox.request(Method::POST, &format!("/port/connect?port={port}"));
            sandbox.send(request.header("content-type", "application/octet-stream").header("accept", accept).body(sent.clone()))
        };
        let answer = send("application/octet-stream").await;
        let body = answer.success();
        let reversed: Vec<u8> = sent.iter().rev().copied().collect();
        assert!(body == reversed, "{} bytes", body.len());
        let received: Received = serde_json::from_slice(&send("application/json").await.success()).unwrap();
        assert_eq!((received.end.sent_bytes, received.end.received_bytes), (6 << 20, 6 << 20));
        assert!(received.truncated && received.end.reason == CloseReason::Closed);
    })
    .await;
}

#[tokio::test]
async fn a_connection_over_a_websocket_keeps_to_its_window_in_both_directions() {
    in_sandbox(async |sandbox| {
        let port = serve(sandbox, "peer.sendall(b'x' * 100000)\nprint(len(peer.recv(1)))\npeer.recv(1)").await;
        let mut socket = sandbox.connect().await;
        socket.send("port.connect", "c", json!({ "port": port, "window_bytes": 4096 })).await;
        assert_eq!(socket.wait_for("event", "c").await["type"], "connected");
        let mut received = 0;
        while received < 4_096 {
            let event = socket.wait_for("event", "c").await;
            assert_eq!((&event["type"], &event["offset"]), (&json!("data"), &json!(received)));
            received += event["bytes"].as_str().unwrap().len();
        }
        assert_eq!(received, 4_096, "no more comes than the window");
        // Another operation of the same socket is not delayed, and what was said before it has come.
        socket.send("file.write", "w", json!({ "path": "a", "content": "" })).await;
        assert_eq!(socket.next().await["id"], "w");
        socket.send("input", "c", json!({ "type": "data", "bytes": "ab" })).await;
        assert_eq!(socket.wait_for("event", "c").await, json!({ "type": "ack", "offset": 2 }));
        socket.send("input", "c", json!({ "type": "ack", "offset": 1_000_000 })).await;
        while received < 100_000 {
            received += socket.wait_for("event", "c").await["bytes"].as_str().unwrap().len();
        }
        assert_eq!(socket.wait_for("event", "c").await["type"], "eof");
        socket.send("input", "c", json!({ "type": "eof" })).await;
        let end = socket.wait_for("result", "c").await;
        assert_eq!(end, json!({ "reason": "closed", "sent_bytes": 2, "received_bytes": 100_000 }));
    })
    .await;
}

#[tokio::test]
async fn a_unix_socket_is_reached_as_the_user_of_commands() {
    in_sandbox(async |sandbox| {
        let server = "import socket, struct, os\nserver = socket.socket(socket.AF_UNIX)\nserver.bind('s.sock')\nserver.listen()\n\
                      peer, _ = server.accept()\ncredentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)\n\
                      peer.sendall(b'%d ' % struct.unpack('3i', credentials)[1] + peer.recv(100))";
        sandbox.exec(json!({ "command": ["python3", "-c", server], "detach": true })).await;
        until("it listens", async || sandbox.shell("ls s.sock 2>/dev/null || true").await == "s.sock\n").await;
        let (path, user) = (sandbox.shell("realpath s.sock").await, sandbox.shell("id -u").await);
        // The path of a socket has room for little. A link makes the root shorter, which may be deep.
        let link = format!("/tmp/{}.sock", sandbox.shell("echo $$").await.trim());
        sandbox.shell(&format!("ln -s {} {link}", path.trim())).await;
        let request = sandbox.request(Method::POST, &format!("/port/connect?path={link}"));
        let request = request.header("content-type", "application/octet-stream").header("accept", "application/octet-stream");
        let answer = sandbox.send(request.body("hello")).await;
        sandbox.shell(&format!("rm {link}")).await;
        assert_eq!(String::from_utf8_lossy(&answer.success()), format!("{} hello", user.trim()));
    })
    .await;
}

#[tokio::test]
async fn a_place_that_takes_no_connection_is_named_in_the_error() {
    in_sandbox(async |sandbox| {
        for (request, code, reason) in [
            (json!({ "port": 1 }), "conflict", "connection_refused"),
            (json!({ "port": 1, "host": "127.0.0.1" }), "conflict", "connection_refused"),
            (json!({ "path": "/no/such.sock" }), "not_found", "no_socket"),
            (json!({ "path": "/etc/hostname" }), "conflict", "connection_refused"),
            (json!({ "port": 49_983 }), "invalid_request", "invalid_field"),
            (json!({ "port": 80, "window_bytes": 0 }), "invalid_request", "invalid_field"),
            (json!({ "port": 80, "path": "/a" }), "invalid_request", "excluded_field"),
            (json!({}), "invalid_request", "excluded_field"),
        ] {
            let answer = sandbox.post("port.connect", request.clone()).await;
            let body = answer.json();
            assert_eq!((answer.code().as_str(), body["error"]["details"]["reason"].as_str()), (code, Some(reason)), "{request}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_broken_off_ends_as_reset_and_a_cancelled_one_is_closed() {
    in_sandbox(async |sandbox| {
        let linger = "import struct\npeer.sendall(b'part')\npeer.recv(1)\n\
                      peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))";
        let port = serve(sandbox, linger).await;
        let mut socket = sandbox.connect().await;
        socket.send("port.connect", "r", json!({ "port": port })).await;
        while socket.wait_for("event", "r").await["type"] != "data" {}
        socket.send("input", "r", json!({ "type": "data", "bytes": "x" })).await;
        assert_eq!(socket.wait_for("result", "r").await["reason"], "reset");

        let port = serve(sandbox, "peer.sendall(b'a')\nopen('ended', 'wb').write(b'%d' % len(peer.recv(1)))").await;
        socket.send("port.connect", "c", json!({ "port": port })).await;
        while socket.wait_for("event", "c").await["type"] != "data" {}
        socket.send("cancel", "c", json!({})).await;
        assert_eq!(socket.wait_for("error", "c").await["code"], "interrupted");
        until("the server sees the end", async || sandbox.shell("cat ended 2>/dev/null || true").await == "0").await;
    })
    .await;
}
