//! Refusals have a code and leave nothing behind.

use cabana_tests::{Sandbox, in_sandbox};
use reqwest::Method;
use serde_json::{Value, json};

async fn check(sandbox: &Sandbox, name: &str, body: Value, code: &str) {
    let shown: String = body.to_string().chars().take(200).collect();
    assert_eq!(sandbox.post(name, body).await.code(), code, "{name} {shown}");
}

#[tokio::test]
async fn malformed_requests_are_refused_by_their_codes() {
    in_sandbox(async |sandbox| {
        for (name, body, code) in [
            ("exec", json!({}), "invalid_request"),
            ("exec", json!([]), "invalid_request"),
            ("exec", json!(["echo array for object"]), "invalid_request"),
            ("exec", json!({ "command": 5 }), "invalid_request"),
            ("exec", json!({ "command": [] }), "invalid_request"),
            ("exec", json!({ "command": [""] }), "invalid_request"),
            ("exec", json!({ "command": "a\0b" }), "invalid_request"),
            ("exec", json!({ "command": "true", "timeout_ms": 0 }), "invalid_request"),
            ("exec", json!({ "command": "true", "timeout_ms": -1 }), "invalid_request"),
            ("exec", json!({ "command": "true", "timeout_ms": 90_000_000 }), "invalid_request"),
            ("exec", json!({ "command": "true", "max_output_bytes": 1_u64 << 40 }), "invalid_request"),
            ("exec", json!({ "command": "true", "env": { "A=B": "x" } }), "invalid_request"),
            ("exec", json!({ "command": "true", "env": { "A": "x\0" } }), "invalid_request"),
            ("exec", json!({ "command": "true", "stdin": 5 }), "invalid_request"),
            ("exec", json!({ "command": "true", "session": "s" }), "not_found"),
            ("exec", json!({ "command": "true", "cwd": "no/such/directory" }), "not_found"),
            ("exec", json!({ "command": "true", "cwd": "/etc/passwd" }), "conflict"),
            ("exec", json!({ "command": ["no-such-program"] }), "not_found"),
            ("exec", json!({ "command": ["./no-such-program"] }), "not_found"),
            ("exec", json!({ "command": ["/etc/passwd"] }), "unprocessable"),
            ("exec", json!({ "command": ["true", "x".repeat(200_000)] }), "payload_too_large"),
            ("file.copy_all", json!({}), "not_found"),
            ("nothing", json!({}), "not_found"),
            ("file.read", json!({}), "invalid_request"),
            ("file.read", json!({ "path": "" }), "invalid_request"),
            ("file.read", json!({ "path": "a\0b" }), "invalid_request"),
            ("file.read", json!({ "path": "x".repeat(5_000) }), "invalid_request"),
            ("file.read", json!({ "path": "x".repeat(300) }), "invalid_request"),
            ("file.read", json!({ "path": "missing" }), "not_found"),
            ("file.read", json!({ "path": "." }), "conflict"),
            ("file.stat", json!({ "path": "missing" }), "not_found"),
            ("file.list", json!({ "path": "missing" }), "not_found"),
            ("file.list", json!({ "path": ".", "depth": 0 }), "invalid_request"),
            ("file.list", json!({ "path": ".", "limit": 100_000 }), "invalid_request"),
            ("file.remove", json!({ "path": "missing" }), "not_found"),
            ("file.remove", json!({ "path": "." }), "forbidden"),
            ("file.move", json!({ "from": "missing", "to": "b" }), "not_found"),
            ("file.mkdir", json!({ "path": "missing/b" }), "not_found"),
            ("file.write", json!({ "path": "a", "content": "x", "mode": "999" }), "invalid_request"),
            ("file.write", json!({ "path": "a", "content": "x", "if_match": "*" }), "precondition_failed"),
            ("file.write", json!({ "path": ".", "content": "x" }), "forbidden"),
            ("file.write", json!({ "path": "a/..", "content": "x" }), "invalid_request"),
            ("file.write", json!({ "path": "a", "content": "x".repeat(9 << 20) }), "payload_too_large"),
            ("file.write", json!({ "path": "a", "content": "x".repeat(17 << 20) }), "payload_too_large"),
        ] {
            check(sandbox, name, body, code).await;
        }
        assert_eq!(sandbox.shell("ls -A").await, "", "nothing was changed");
    })
    .await;
}

#[tokio::test]
async fn an_error_names_the_place_and_not_the_value() {
    in_sandbox(async |sandbox| {
        for env in [json!("TOKEN=hunter2"), json!({ "TOKEN": { "hunter2": 1 } }), json!({ "TOKEN": 123_456 })] {
            let answer = sandbox.post("exec", json!({ "command": "true", "env": env })).await;
            let text = String::from_utf8_lossy(&answer.bytes).into_owned();
            assert!(text.contains("env") && !text.contains("hunter2") && !text.contains("123456"), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn bodies_that_are_not_json_are_refused() {
    in_sandbox(async |sandbox| {
        for body in ["", "{", "{\"command\": \"true\"} x", "\u{feff}{}", "command=true"] {
            let request = sandbox.request(Method::POST, "/exec").body(body);
            assert_eq!(sandbox.send(request).await.code(), "invalid_request", "{body:?}");
        }
        let deep = format!("{{\"command\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(sandbox.send(sandbox.request(Method::POST, "/exec").body(deep)).await.code(), "invalid_request");
    })
    .await;
}

#[tokio::test]
async fn a_refused_upload_is_answered_before_its_end() {
    in_sandbox(async |sandbox| {
        let answer = sandbox.put("/etc/large", vec![b'x'; 20 << 20]).await;
        assert_eq!(answer.code(), "forbidden");
    })
    .await;
}

#[tokio::test]
async fn unknown_routes_are_refused() {
    in_sandbox(async |sandbox| {
        for (method, route, code) in [
            (Method::GET, "/exec", "invalid_request"),
            (Method::PATCH, "/files?path=a", "invalid_request"),
            (Method::POST, "/connect", "invalid_request"),
            (Method::GET, "/files", "invalid_request"),
            (Method::GET, "/files?path=missing", "not_found"),
            (Method::POST, "/exec/more", "not_found"),
            (Method::POST, "/file/../exec/x", "not_found"),
        ] {
            let answer = sandbox.send(sandbox.request(method.clone(), route)).await;
            assert_eq!(answer.code(), code, "{method} {route}");
        }
    })
    .await;
}

#[tokio::test]
async fn requests_without_the_key_are_refused() {
    in_sandbox(async |sandbox| {
        for authorization in [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic eDp5"), Some("Bearer")] {
            for (method, route) in
                [(Method::POST, "/exec"), (Method::PUT, "/files?path=a"), (Method::GET, "/connect"), (Method::GET, "/nowhere")]
            {
                let request = sandbox.anonymous(method.clone(), route).body(r#"{"command": "touch a"}"#);
                let request = authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
                assert_eq!(sandbox.send(request).await.code(), "unauthorized", "{method} {route} {authorization:?}");
            }
        }
        assert_eq!(sandbox.shell("ls -A").await, "", "nothing was changed");
    })
    .await;
}
