//! Operations over the WebSocket.

mod binary;

use cabana_tests::{in_sandbox, until};
use serde_json::{Value, json};

#[tokio::test]
async fn every_operation_is_reached_by_its_name() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        for (id, name, payload, expected) in [
            ("1", "file.write", json!({ "path": "a", "content": "hi" }), json!(2)),
            ("2", "file.stat", json!({ "path": "a" }), json!(2)),
            ("3", "file.read", json!({ "path": "a" }), json!(2)),
        ] {
            socket.send(name, id, payload).await;
            assert_eq!(socket.wait_for("result", id).await["size_bytes"], expected, "{name}");
        }
        socket.send("exec", "4", json!({ "command": "cat a; exit 7" })).await;
        let (mut events, mut frame) = (Vec::new(), socket.next().await);
        while frame["type"] == "event" {
            events.push(frame["payload"].clone());
            frame = socket.next().await;
        }
        assert_eq!(events[0]["type"], "started");
        assert_eq!(events[1], json!({ "type": "stdout", "offset": 0, "bytes": "hi" }));
        assert_eq!((&frame["type"], &frame["id"]), (&json!("result"), &json!("4")));
        assert_eq!(frame["payload"]["exit"], json!({ "type": "exited", "code": 7 }));
    })
    .await;
}

#[tokio::test]
async fn many_operations_run_on_one_socket() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        for id in 0..20 {
            let command = format!("until [ -e go ]; do sleep 0.02; done; echo {id}");
            socket.send("exec", &id.to_string(), json!({ "command": command })).await;
        }
        socket.send("file.write", "go", json!({ "path": "go", "content": "" })).await;
        let (mut outputs, mut results) = (Vec::new(), 0);
        while results < 20 {
            let frame = socket.next().await;
            results += i32::from(frame["type"] == "result" && frame["id"] != "go");
            if frame["payload"]["type"] == "stdout" {
                outputs.push(frame["payload"]["bytes"].as_str().unwrap().trim().to_owned());
                assert_eq!(frame["id"].as_str(), outputs.last().map(String::as_str));
            }
        }
        outputs.sort_by_key(|output| output.parse::<u32>().unwrap());
        assert_eq!(outputs, (0..20).map(|id| id.to_string()).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn inputs_reach_a_running_command() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        socket.send("exec", "cat", json!({ "command": "cat; echo end", "stdin": { "stream": true } })).await;
        for text in ["one\n", "two\n"] {
            socket.send("input", "cat", json!({ "type": "stdin", "bytes": text })).await;
            loop {
                let event = socket.wait_for("event", "cat").await;
                if event["type"] == "stdout" {
                    assert_eq!(event["bytes"], text);
                    break;
                }
            }
        }
        socket.send("input", "cat", json!({ "type": "eof" })).await;
        assert_eq!(socket.wait_for("event", "cat").await["bytes"], "end\n");
        assert_eq!(socket.wait_for("result", "cat").await["exit"]["code"], 0);
        socket
            .send("exec", "trap", json!({ "command": "trap 'echo caught; exit 5' INT; echo set; while :; do sleep 0.02; done" }))
            .await;
        while socket.wait_for("event", "trap").await["bytes"] != "set\n" {}
        socket.send("input", "trap", json!({ "type": "signal", "signal": "SIGINT" })).await;
        assert_eq!(socket.wait_for("result", "trap").await["exit"], json!({ "type": "exited", "code": 5 }));
    })
    .await;
}

#[tokio::test]
async fn cancel_ends_the_tree_and_is_reported() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        socket.send("exec", "a", json!({ "command": "sleep 3599.5 & echo up; sleep 3599.5" })).await;
        socket.send("exec", "b", json!({ "command": "until [ -e go ]; do sleep 0.02; done; echo fine" })).await;
        while socket.wait_for("event", "a").await["bytes"] != "up\n" {}
        socket.send("cancel", "a", Value::Null).await;
        assert_eq!(socket.wait_for("result", "a").await["exit"], json!({ "type": "cancelled", "code": 143 }));
        socket.send("exec", "a", json!({ "command": ["pgrep", "--count", "--full", "sleep 3599.5"] })).await;
        assert_eq!(socket.wait_for("result", "a").await["exit"]["code"], 1, "the id can be used again, and nothing is left");
        socket.send("cancel", "never-seen", Value::Null).await;
        sandbox.put("go", "").await.success();
        assert_eq!(socket.wait_for("result", "b").await["exit"]["code"], 0, "the others are not touched");
    })
    .await;
}

#[tokio::test]
async fn closing_the_socket_ends_its_operations() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        socket.send("exec", "a", json!({ "command": "sleep 3598.5 & echo up; sleep 3598.5" })).await;
        while socket.wait_for("event", "a").await["bytes"] != "up\n" {}
        drop(socket);
        until("the tree is gone", async || sandbox.count_processes("sleep 3598.5").await == 0).await;
    })
    .await;
}

#[tokio::test]
async fn malformed_frames_are_answered_and_the_socket_survives() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        socket.send("exec", "busy", json!({ "command": "cat", "stdin": { "stream": true } })).await;
        let of = async |socket: &mut cabana_tests::Socket| loop {
            let frame = socket.next().await;
            if frame["type"] == "error" {
                return (frame["id"].as_str().map(str::to_owned), frame["payload"]["code"].as_str().unwrap().to_owned());
            }
        };
        for text in ["", "{", "[]", "{}", r#"{"type":"exec"}"#, r#"{"type":"exec","id":5}"#, r#"{"type":"exec","id":""}"#] {
            socket.send_text(text).await;
            assert_eq!(of(&mut socket).await, (None, "invalid_request".to_owned()), "{text}");
        }
        for (kind, id, payload, answered, code) in [
            ("nothing", "x", json!({}), Some("x"), "not_found"),
            ("exec", "x", json!({ "command": 1 }), Some("x"), "invalid_request"),
            ("exec", "x", json!({ "command": ["no-such-program"] }), Some("x"), "not_found"),
            ("file.read", "x", json!({ "path": "/etc/passwd" }), Some("x"), "forbidden"),
            ("file.read", "busy", json!({ "path": "a" }), None, "conflict"),
            ("input", "nobody", json!({ "type": "eof" }), None, "not_found"),
            ("cancel", "nobody", Value::Null, None, "not_found"),
            ("input", "busy", json!({ "type": "dance" }), None, "invalid_request"),
        ] {
            socket.send(kind, id, payload.clone()).await;
            assert_eq!(of(&mut socket).await, (answered.map(str::to_owned), code.to_owned()), "{kind} {id} {payload}");
        }
        socket.send("input", "busy", json!({ "type": "eof" })).await;
        assert_eq!(socket.wait_for("result", "busy").await["exit"]["code"], 0);
    })
    .await;
}

#[tokio::test]
async fn unread_output_delays_nothing_else_and_is_not_kept() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        socket.send("exec", "deaf", json!({ "command": "echo up; exec sleep 3596.5", "stdin": { "stream": true } })).await;
        while socket.wait_for("event", "deaf").await["bytes"] != "up\n" {}
        for _ in 0..70 {
            socket.send("input", "deaf", json!({ "type": "stdin", "bytes": "x".repeat(1 << 20) })).await;
        }
        socket.send("exec", "other", json!({ "command": "echo quick" })).await;
        let (mut refused, mut cancelled, mut answered) = (false, false, false);
        while !(refused && cancelled && answered) {
            let frame = socket.next().await;
            refused |= frame["payload"]["code"] == "too_many_requests" && frame["payload"]["details"]["id"] == "deaf";
            cancelled |= frame["id"] == "deaf" && frame["payload"]["exit"]["type"] == "cancelled";
            answered |= frame["id"] == "other" && frame["type"] == "result";
        }
        assert_eq!(sandbox.count_processes("sleep 3596.5").await, 0);
    })
    .await;
}

#[tokio::test]
async fn output_after_a_cancel_waits_for_nobody_and_is_told_as_a_gap() {
    in_sandbox(async |sandbox| {
        let mut slow = sandbox.connect().await;
        // It prints through the whole grace time.
        slow.send("exec", "endless", json!({ "command": "trap '' TERM; yes 3582.5" })).await;
        slow.wait_for("event", "endless").await;
        until("it waits for its reader", async || {
            sandbox.shell("ps -o stat= -p $(pgrep -fx 'yes 3582.5') | grep -c S || true").await == "1\n"
        })
        .await;
        slow.send("cancel", "endless", Value::Null).await;
        until("the tree is gone", async || sandbox.count_processes("yes 3582.5").await == 0).await;
        let (mut end, mut gap) = (None, false);
        loop {
            let frame = slow.next().await;
            let event = &frame["payload"];
            match (frame["type"].as_str(), event["type"].as_str()) {
                (Some("result"), _) => break assert_eq!(event["exit"], json!({ "type": "cancelled", "code": 143 })),
                (Some("event"), Some("stdout")) => {
                    assert!(!gap, "nothing comes behind the gap");
                    let (offset, length) = (event["offset"].as_u64().unwrap(), event["bytes"].as_str().unwrap().len() as u64);
                    assert_eq!(end.unwrap_or(offset), offset);
                    end = Some(offset + length);
                }
                (Some("event"), Some("gap")) => {
                    assert_eq!(event["from"].as_u64(), end);
                    assert!(event["to"].as_u64() > end, "{event}");
                    gap = true;
                }
                _ => panic!("{frame}"),
            }
        }
        assert!(gap && end.unwrap() < 64 << 20, "{end:?} bytes were sent");
    })
    .await;
}

#[tokio::test]
async fn a_frame_above_the_limit_is_refused_and_the_socket_survives() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        socket.send("file.write", "large", json!({ "path": "a", "content": "x".repeat(17 << 20) })).await;
        assert_eq!(socket.next().await["payload"]["code"], "payload_too_large");
        socket.send("file.stat", "1", json!({ "path": "." })).await;
        assert_eq!(socket.wait_for("result", "1").await["kind"], "directory");
    })
    .await;
}

#[tokio::test]
async fn pings_are_answered_in_every_spelling() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        for ping in [r#"{"type":"ping"}"#, r#"{"type": "ping"}"#, r#"{"type":"ping","id":"1","payload":{}}"#] {
            socket.send_text(ping).await;
            assert_eq!(socket.next().await, json!({ "type": "pong", "payload": {} }), "{ping}");
        }
    })
    .await;
}

#[tokio::test]
async fn binary_frames_are_refused_unless_asked_for() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        socket.send_bytes(&b"{}"[..]).await;
        assert_eq!(socket.next().await["payload"]["code"], "invalid_request");
        socket.send("file.stat", "1", json!({ "path": "." })).await;
        assert_eq!(socket.wait_for("result", "1").await["kind"], "directory");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_stops_reading_delays_nobody_and_loses_nothing() {
    in_sandbox(async |sandbox| {
        let mut slow = sandbox.connect().await;
        let last = 3_000_000;
        slow.send("exec", "numbers", json!({ "command": format!("seq {last}; touch printed") })).await;
        slow.wait_for("event", "numbers").await;
        let mut other = sandbox.connect().await;
        for id in 0..20 {
            other.send("exec", &id.to_string(), json!({ "command": "echo quick" })).await;
            assert_eq!(other.output(&id.to_string()).await.0, "quick\n");
        }
        assert_eq!(sandbox.get("printed").await.code(), "not_found", "its command waits for it");
        let (output, result) = slow.output("numbers").await;
        assert_eq!(result["exit"]["code"], 0);
        let numbers = output.lines().map(|line| line.parse::<u32>().unwrap());
        assert!(numbers.eq(1..=last), "every byte arrives");
    })
    .await;
}

#[tokio::test]
async fn an_operation_whose_output_is_unread_can_be_cancelled() {
    in_sandbox(async |sandbox| {
        let mut slow = sandbox.connect().await;
        slow.send("exec", "endless", json!({ "command": "yes 3595.5" })).await;
        slow.wait_for("event", "endless").await;
        until("it waits for its reader", async || {
            // Asleep, because its output is not taken.
            sandbox.shell("ps -o stat= -p $(pgrep -fx 'yes 3595.5') | grep -c S || true").await == "1\n"
        })
        .await;
        slow.send("cancel", "endless", Value::Null).await;
        until("the tree is gone", async || sandbox.count_processes("yes 3595.5").await == 0).await;
        assert_eq!(slow.wait_for("result", "endless").await["exit"], json!({ "type": "cancelled", "code": 143 }));
    })
    .await;
}

#[tokio::test]
async fn operations_above_the_limit_of_a_socket_are_refused() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        socket.send("exec", "p", json!({ "command": "read line", "stdin": { "stream": true } })).await;
        let process = socket.wait_for("event", "p").await["process"].clone();
        for id in 0..256 {
            socket.send("process.wait", &id.to_string(), json!({ "process": process, "until": "exit" })).await;
        }
        let refused = socket.wait_for("error", "255").await;
        assert_eq!((&refused["code"], &refused["details"]["limit"]), (&json!("too_many_requests"), &json!(256)));
        socket.send("input", "p", json!({ "type": "eof" })).await;
        let mut results = 0;
        while results < 256 {
            let frame = socket.next().await;
            assert_ne!(frame["type"], "error", "{frame} after {results} results");
            results += i32::from(frame["type"] == "result");
        }
    })
    .await;
}

#[tokio::test]
async fn a_burst_of_inputs_arrives_whole() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        socket.send("exec", "count", json!({ "command": "wc -c", "stdin": { "stream": true } })).await;
        for _ in 0..50 {
            socket.send("input", "count", json!({ "type": "stdin", "bytes": "x".repeat(1 << 20) })).await;
        }
        socket.send("input", "count", json!({ "type": "eof" })).await;
        let (output, result) = socket.output("count").await;
        assert_eq!((output.trim(), &result["exit"]["code"]), ("52428800", &json!(0)));
    })
    .await;
}
