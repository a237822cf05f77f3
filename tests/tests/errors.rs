//! Refusals have a code and leave nothing behind.

use cabana_tests::{NDJSON, SSE, Sandbox, in_sandbox};
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
async fn unknown_fields_and_parameters_are_refused_by_name() {
    in_sandbox(async |sandbox| {
        let refused = async |method: Method, route: &str, body: Value, message: &str, reason: &str| {
            let request = sandbox.request(method.clone(), route);
            let request = if body.is_null() { request } else { request.json(&body) };
            let answer = sandbox.send(request).await;
            assert_eq!(answer.code(), "invalid_request", "{method} {route}");
            let error = &answer.json()["error"];
            assert_eq!(
                (error["message"].as_str(), &error["details"]["reason"]),
                (Some(message), &json!(reason)),
                "{method} {route}"
            );
        };
        let timeout = "unknown field `timeout`: did you mean `timeout_ms`?";
        refused(Method::POST, "/exec", json!({ "command": "touch harmed", "timeout": 50 }), timeout, "unknown_field").await;
        let encoding =
            "unknown field `encoding`: the fields are `path`, `content`, `mode`, `append`, `offset`, `if_match` and `session`";
        let content = json!({ "path": "harmed", "content": "aGk=", "encoding": "base64" });
        refused(Method::POST, "/file/write", content, encoding, "unknown_field").await;
        let edits = json!({ "path": "a", "edits": [{ "old": "a", "new": "b", "alll": true }] });
        refused(Method::POST, "/file/edit", edits, "unknown field `edits[0].alll`: did you mean `all`?", "unknown_field").await;
        let number = json!({ "command": "touch harmed", "timeout_ms": "1s" });
        let takes = "`timeout_ms` takes a whole number from 0, got a string";
        refused(Method::POST, "/exec", number, takes, "invalid_field").await;
        for (method, route, body, message) in [
            (
                Method::POST,
                "/exec?timeout=5",
                json!({ "command": "touch harmed" }),
                "unknown parameter `timeout`: none is taken here",
            ),
            (Method::PUT, "/files?path=harmed&modes=600", json!({}), "unknown parameter `modes`: did you mean `mode`?"),
            (Method::GET, "/archive?path=.&formt=tar", Value::Null, "unknown parameter `formt`: did you mean `format`?"),
            (Method::GET, "/connect?binaries=1", Value::Null, "unknown parameter `binaries`: did you mean `binary`?"),
        ] {
            refused(method, route, body, message, "unknown_parameter").await;
        }
        let depth = "unknown field `depht`: did you mean `depth`?";
        refused(Method::GET, "/file/list?path=.&depht=2", Value::Null, depth, "unknown_field").await;
        let mut socket = sandbox.connect().await;
        socket.send("exec", "a", json!({ "command": "touch harmed", "timeout": 50 })).await;
        assert_eq!(socket.wait_for("error", "a").await["message"], timeout);
        socket.send_text(r#"{"type":"exec","id":"b","payloads":{}}"#).await;
        assert_eq!(socket.next().await["payload"]["message"], "unknown field `payloads`: did you mean `payload`?");
        assert_eq!(sandbox.shell("ls -A").await, "", "nothing was done");
    })
    .await;
}

#[tokio::test]
async fn operations_that_only_look_are_answered_by_get() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p d/e && echo one > d/a && printf '1\n2\n3\n' > 'd/b c'").await;
        let get = async |route: &str| sandbox.send(sandbox.request(Method::GET, route)).await;
        let names =
            |answer: &Value| answer["items"].as_array().unwrap().iter().map(|entry| entry["path"].clone()).collect::<Vec<_>>();
        assert_eq!(names(&get("/file/list?path=d").await.json()), ["a", "b c", "e"]);
        assert_eq!(names(&get("/file/list?path=d&limit=1&hidden=false").await.json()), ["a"]);
        assert_eq!(get("/file/read?path=d%2Fb+c&lines=%7B%22from%22%3A2%2C%22to%22%3A2%7D").await.json()["content"], "2\n");
        assert!(get("/process/list").await.json()["items"].is_array());
        let started = sandbox.post("exec", json!({ "command": "echo out", "detach": true, "name": "7" })).await.json();
        let attach = "/process/attach?process=7";
        assert_eq!(get(attach).await.json()["process"], started["process"]);
        let events = sandbox.send(sandbox.request(Method::GET, attach).header("accept", SSE)).await;
        assert_eq!(events.header("content-type"), Some(SSE));
        assert!(String::from_utf8_lossy(&events.bytes).contains("out"));
        let head = sandbox.send(sandbox.request(Method::HEAD, "/file/stat?path=d")).await;
        assert!(head.status.is_success() && head.bytes.is_empty());
        assert!(get("/file/stat?path=d").await.bytes.ends_with(b"}\n"), "JSON ends in a newline");
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
            (Method::GET, "/exec", "method_not_allowed"),
            (Method::PATCH, "/files?path=a", "method_not_allowed"),
            (Method::POST, "/connect", "method_not_allowed"),
            (Method::PUT, "/process/list", "method_not_allowed"),
            (Method::GET, "/process/remove", "method_not_allowed"),
            (Method::PATCH, "/archive?path=a", "method_not_allowed"),
            (Method::GET, "/files", "invalid_request"),
            (Method::GET, "/files?path=missing", "not_found"),
            (Method::POST, "/exec/more", "not_found"),
            (Method::POST, "/file/../exec/x", "not_found"),
        ] {
            let answer = sandbox.send(sandbox.request(method.clone(), route)).await;
            assert_eq!(answer.code(), code, "{method} {route}");
            let methods = answer.header("allow").map(|methods| methods.split(", ").map(str::to_owned).collect::<Vec<_>>());
            let named = answer.json()["error"]["details"]["allowed_methods"].clone();
            assert_eq!(json!(methods.filter(|_| code == "method_not_allowed")), named, "{method} {route}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_before_the_beginning_has_its_status_in_every_form() {
    in_sandbox(async |sandbox| {
        for (name, body, code) in [
            ("file/watch", json!({ "path": "missing" }), "not_found"),
            ("exec", json!({ "command": ["nonexistent"] }), "not_found"),
            ("process/attach", json!({ "process": "unknown" }), "not_found"),
            ("git/clone", json!({ "url": "nonsense" }), "invalid_request"),
        ] {
            for accept in ["application/json", NDJSON, SSE, "application/octet-stream"] {
                let request = sandbox.request(Method::POST, &format!("/{name}")).header("accept", accept).json(&body);
                assert_eq!(sandbox.send(request).await.code(), code, "{name} {accept}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_form_that_a_client_likes_best_is_answered() {
    in_sandbox(async |sandbox| {
        for (accept, form) in [
            ("application/json;q=0.1, application/x-ndjson;q=0.2", NDJSON),
            ("application/json;q=0, text/event-stream;q=0.5, */*;q=0.1", SSE),
            ("application/x-ndjson;q=0", "application/json"),
        ] {
            let request = sandbox.request(Method::POST, "/exec").header("accept", accept).json(&json!({ "command": "true" }));
            assert_eq!(sandbox.send(request).await.header("content-type"), Some(form), "{accept}");
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
