//! Sockets that end in the Durable Object: what they survive, and which callers may open them.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use cabana_tests::{Sandbox, Socket, in_sandbox, until};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    lifecycle::Named,
    local_engine::{LocalEngine, StartMark},
    state,
};

fn key() -> (&'static str, String) {
    ("authorization", format!("Bearer {}", Sandbox::service().1))
}

#[tokio::test]
async fn only_an_operation_on_a_socket_wakes_the_sandbox() {
    let sandbox = Named::new("asleep", json!({})).await;
    let mut socket = sandbox.connect().await.unwrap();
    socket.send_text(r#"{"type":"ping"}"#).await;
    assert_eq!(socket.next().await["type"], "pong");
    socket.send("nothing", "1", json!({})).await;
    assert_eq!(socket.wait_for("error", "1").await["code"], "not_found");
    assert_eq!(state(&sandbox.id).await, "created");
    socket.send("exec", "2", json!({ "command": "echo up" })).await;
    assert_eq!(socket.output("2").await.0, "up\n");
    assert_eq!(state(&sandbox.id).await, "running");
    sandbox.end().await;
    assert_eq!(socket.closed().await, 4404);
}

#[tokio::test]
async fn a_socket_to_a_missing_sandbox_is_refused() {
    let (url, _) = Sandbox::service();
    let refused = Socket::open(&format!("{url}/v1/sandboxes/sbx-never-made/connect"), &[key()]).await;
    assert_eq!(refused.unwrap_err(), Some(404));
    in_sandbox(async |sandbox| {
        assert_eq!(sandbox.send(sandbox.request(reqwest::Method::GET, "/connect")).await.code(), "invalid_request");
    })
    .await;
}

#[tokio::test]
async fn two_sockets_may_use_the_same_request_id() {
    in_sandbox(async |sandbox| {
        let (mut one, mut other) = (sandbox.connect().await, sandbox.connect().await);
        one.send("exec", "id", json!({ "command": "read line; echo one $line", "stdin": { "stream": true } })).await;
        other.send("exec", "id", json!({ "command": "read line; echo other $line", "stdin": { "stream": true } })).await;
        one.wait_for("event", "id").await;
        other.wait_for("event", "id").await;
        other.send("input", "id", json!({ "type": "stdin", "bytes": "hello\n" })).await;
        assert_eq!(other.output("id").await.0, "other hello\n");
        one.send("input", "id", json!({ "type": "stdin", "bytes": "bye\n" })).await;
        assert_eq!(one.output("id").await.0, "one bye\n");
    })
    .await;
}

#[tokio::test]
async fn closing_a_socket_ends_only_its_own_operations() {
    in_sandbox(async |sandbox| {
        let (mut one, mut other) = (sandbox.connect().await, sandbox.connect().await);
        for (socket, mark) in [(&mut one, "3594.5"), (&mut other, "3593.5")] {
            socket.send("exec", "id", json!({ "command": format!("sleep {mark} & echo up; wait") })).await;
            while socket.wait_for("event", "id").await["bytes"] != "up\n" {}
        }
        drop(one);
        until("its tree is gone", async || sandbox.count_processes("sleep 3594.5").await == 0).await;
        // The shell that runs it has it in its command line, too.
        assert!(sandbox.count_processes("sleep 3593.5").await > 0);
        other.send("cancel", "id", Value::Null).await;
        assert_eq!(other.wait_for("result", "id").await["exit"]["type"], "cancelled");
    })
    .await;
}

#[tokio::test]
async fn a_socket_survives_the_end_of_the_container() {
    in_sandbox(async |sandbox| {
        let (mut socket, mut other) = (sandbox.connect().await, sandbox.connect().await);
        for id in ["a", "b"] {
            socket.send("exec", id, json!({ "command": "echo up; sleep 3592.5" })).await;
            while socket.wait_for("event", id).await["bytes"] != "up\n" {}
        }
        other.send("exec", "end", json!({ "command": "kill -TERM 1; sleep 30" })).await;
        let mut ends = Vec::new();
        while ends.len() < 2 {
            let frame = socket.next().await;
            // The agent may still have had the time to say how they ended.
            match frame["type"].as_str() {
                Some("error") => assert_eq!(
                    (&frame["payload"]["code"], &frame["payload"]["details"]["admitted"]),
                    (&json!("interrupted"), &json!(true))
                ),
                Some("result") => assert_ne!(frame["payload"]["exit"]["type"], "exited"),
                _ => panic!("{frame}"),
            }
            ends.push(frame["id"].as_str().unwrap().to_owned());
        }
        ends.sort();
        assert_eq!(ends, ["a", "b"]);
        until("the next frame wakes it", async || {
            socket.send("exec", "again", json!({ "command": "echo again" })).await;
            let frame = loop {
                let frame = socket.next().await;
                if frame["type"] != "event" {
                    break frame;
                }
            };
            match frame["payload"]["code"].as_str() {
                None => frame["payload"]["exit"]["code"] == 0,
                Some(code) => {
                    assert!(["container_not_ready", "interrupted"].contains(&code), "{frame}");
                    false
                }
            }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_socket_with_a_silent_operation_sends_heartbeats() {
    in_sandbox(async |sandbox| {
        let (mut waits, mut idle) = (sandbox.connect().await, sandbox.connect().await);
        waits.send("exec", "1", json!({ "command": "until [ -e go ]; do sleep 0.02; done" })).await;
        waits.wait_for("event", "1").await;
        for _ in 0..2 {
            assert_eq!(waits.next().await["type"], "pong");
        }
        sandbox.put("go", "").await.success();
        assert_eq!(waits.wait_for("result", "1").await["exit"]["code"], 0);
        idle.send("exec", "2", json!({ "command": "true" })).await;
        assert_eq!(idle.next().await["payload"]["type"], "started", "no heartbeat without an operation");
    })
    .await;
}

#[tokio::test]
async fn sockets_from_foreign_origins_are_refused() {
    in_sandbox(async |sandbox| {
        let (url, _) = Sandbox::service();
        for (origin, expected) in [(url.as_str(), None), ("https://evil.example", Some(403)), ("null", Some(403))] {
            let opened = Socket::open(&sandbox.url("/connect"), &[key(), ("origin", origin.to_owned())]).await;
            assert_eq!(opened.err().map(|status| status.unwrap_or(0)), expected, "{origin}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_vanishes_under_much_output_leaves_no_process() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        socket.send("exec", "endless", json!({ "command": "yes 3591.5" })).await;
        socket.wait_for("event", "endless").await;
        drop(socket);
        until("the tree is gone", async || sandbox.count_processes("yes 3591.5").await == 0).await;
        let mut socket = sandbox.connect().await;
        socket.send("exec", "1", json!({ "command": "echo fine" })).await;
        assert_eq!(socket.output("1").await.0, "fine\n");
    })
    .await;
}

#[tokio::test]
async fn an_idle_socket_survives_the_eviction_of_its_object() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect_with("?binary=1").await.unwrap();
        socket.send("exec", "1", json!({ "command": "echo up" })).await;
        assert_eq!(socket.output_bytes("1").await.0, b"up\n");
        let wakeups = async || sandbox.send(sandbox.request(reqwest::Method::GET, "")).await.json()["wakeups"].clone();
        let before = wakeups().await;
        // Looking brings the object into memory, or keeps it there, so it is left alone in between, but for pings.
        let after = loop {
            for _ in 0..15 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                socket.send_text(r#"{"type":"ping"}"#).await;
                assert_eq!(socket.next().await["type"], "pong");
            }
            let after = wakeups().await;
            if after != before {
                break after;
            }
        };
        let once = before["loads"].as_u64().unwrap() + 1;
        assert_eq!(after, json!({ "loads": once, "alarms": before["alarms"] }), "nothing but our look has brought it back");
        socket.send_binary("exec", "2", json!({ "command": "cat", "stdin": "" }), b"\xff").await;
        assert_eq!(socket.output_bytes("2").await.0, b"\xff", "it still takes binary frames");
    })
    .await;
}

#[tokio::test]
async fn a_look_over_a_socket_does_not_wake_the_sandbox() {
    let sandbox = Named::new("looked-at", json!({})).await;
    let mut socket = sandbox.connect().await.unwrap();
    socket.send("process.list", "1", json!({})).await;
    assert_eq!(socket.wait_for("result", "1").await, json!({ "items": [] }));
    assert_eq!(state(&sandbox.id).await, "created");
    sandbox.end().await;
}

/// What fills the memory that the sandboxes share.
mod serial {
    use super::*;

    /// Sends a command more input than has room while its sandbox starts, and waits for its end: what it has counted, or the code of its error.
    async fn send_much(sandbox: &Named, number: usize, refused: &AtomicBool) -> Result<String, String> {
        let mut socket = sandbox.connect().await.unwrap();
        let command = format!("cat > input-{number}; wc -c < input-{number}");
        socket.send("exec", "count", json!({ "command": command, "stdin": { "stream": true } })).await;
        for _ in 0..2 {
            socket.send("input", "count", json!({ "type": "stdin", "bytes": "x".repeat(6 << 20) })).await;
        }
        socket.send("input", "count", json!({ "type": "eof" })).await;
        let mut output = String::new();
        loop {
            let frame = socket.next().await;
            match frame["type"].as_str().unwrap() {
                "event" => output.push_str(frame["payload"]["bytes"].as_str().unwrap_or_default()),
                "result" => return Ok(output.trim().to_owned()),
                "error" if frame["id"] == "count" => {
                    refused.store(true, Ordering::Relaxed);
                    let code = frame["payload"]["code"].as_str().unwrap().to_owned();
                    // The id is free again, and nothing more comes under it.
                    socket.send("exec", "count", json!({ "command": "echo again" })).await;
                    assert_eq!(socket.output("count").await.0, "again\n");
                    return Err(code);
                }
                // Inputs of an operation that has ended.
                _ => assert_eq!(frame["payload"]["code"], "not_found", "{frame}"),
            }
        }
    }

    #[tokio::test]
    async fn inputs_without_room_are_held_back_or_end_their_operation() {
        let neighbor = Named::new("roomy", json!({})).await;
        let Some(engine) = LocalEngine::find(&neighbor).await else { return neighbor.end().await };
        let mark = StartMark::new("room");
        let sandbox = Named::new("room", json!({ "env": mark.variables() })).await;
        let fault = engine.inject(&mark, json!("hang"), None).await;
        let refused = AtomicBool::new(false);
        let sending = join_all((0..8).map(|number| send_much(&sandbox, number, &refused)));
        let releasing = async {
            until("an input is refused", async || refused.load(Ordering::Relaxed)).await;
            fault.remove().await
        };
        let (outcomes, _) = tokio::join!(sending, releasing);
        for (number, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Ok(output) => assert_eq!(output, "12582912", "none ends as though it had got all"),
                Err(code) => {
                    assert_eq!(code, "too_many_requests");
                    assert_eq!(sandbox.print(&format!("ls input-{number} 2>/dev/null || echo none")).await, "none\n");
                }
            }
        }
        assert!(outcomes.iter().any(Result::is_ok), "some are held back, and not refused: {outcomes:?}");
        sandbox.end().await;
        neighbor.end().await;
    }
}
