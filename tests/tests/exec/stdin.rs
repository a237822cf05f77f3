//! What a command reads: a file of the sandbox, or the body of the request.

use cabana_tests::{Sandbox, in_sandbox};
use futures_util::stream;
use reqwest::{Body, Method, RequestBuilder};
use serde_json::{Value, json};

/// A request whose body is what the command reads.
fn fed(sandbox: &Sandbox, query: &[(&str, &str)], body: impl Into<Body>) -> RequestBuilder {
    let request = sandbox.request(Method::POST, "/exec").query(query);
    request.header("content-type", "application/octet-stream").body(body)
}

#[tokio::test]
async fn a_command_reads_a_file_of_the_sandbox() {
    in_sandbox(async |sandbox| {
        sandbox.put("data/in", b"one\0two\xff\n".as_slice()).await.success();
        sandbox.shell("mkdir dir; ln -s /etc/passwd out; mkfifo fifo").await;
        for path in ["data/in", "./data/in", &format!("{}/data/in", sandbox.root)] {
            let output = sandbox.exec(json!({ "command": "head -c 4; cat", "stdin": { "path": path } })).await;
            assert_eq!(output.stdout.0, b"one\0two\xff\n".as_slice(), "{path}");
        }
        let run = json!({ "command": "wc -c > counted", "stdin": { "path": "data/in" }, "detach": true, "name": "counts" });
        sandbox.exec(run).await;
        sandbox.post("process.wait", json!({ "process": "counts", "until": "exit" })).await.success();
        assert_eq!(sandbox.shell("cat counted").await.trim(), "9");
        for (fields, code, reason) in [
            (json!({ "stdin": { "path": "none" } }), "not_found", "no_such_file"),
            (json!({ "stdin": { "path": "dir" } }), "conflict", "is_a_directory"),
            (json!({ "stdin": { "path": "fifo" } }), "conflict", "not_a_file"),
            (json!({ "stdin": { "path": "out" } }), "forbidden", "outside_roots"),
            (json!({ "stdin": { "path": "/etc/passwd" } }), "forbidden", "outside_roots"),
            (json!({ "stdin": { "path": "data/in" }, "session": "none" }), "invalid_request", "excluded_field"),
            (json!({ "stdin": { "path": "data/in" }, "tty": { "cols": 80, "rows": 24 } }), "invalid_request", "excluded_field"),
            (json!({ "stdin": { "path": "data/in", "stream": true } }), "invalid_request", "invalid_field"),
        ] {
            let mut request = json!({ "command": "cat" });
            request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let refused = sandbox.post("exec", request).await;
            assert_eq!(
                (refused.code().as_str(), &refused.json()["error"]["details"]["reason"]),
                (code, &json!(reason)),
                "{fields}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_reads_the_body_of_its_request() {
    in_sandbox(async |sandbox| {
        let large: Vec<u8> = (0..24 << 20).map(|index: u32| (index % 251) as u8).collect();
        let pieces = large.chunks(100_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
        let stored = fed(sandbox, &[("command", "cat > large; echo done")], Body::wrap_stream(stream::iter(pieces)));
        let answer = sandbox.send(stored).await;
        assert_eq!(answer.json()["stdout"], "done\n", "{}", answer.json());
        assert!(sandbox.get("large").await.success() == large);
        for (query, body, expected) in [
            (&[("command", "cat")][..], "", ""),
            (&[("command", "tr"), ("command", "a-z"), ("command", "A-Z")], "hello", "HELLO"),
            (&[("command", "cat; echo $A"), ("env", r#"{"A":"b"}"#), ("timeout_ms", "20000")], "in ", "in b\n"),
            (&[("command", "echo early")], "never read", "early\n"),
        ] {
            let answer = sandbox.send(fed(sandbox, query, body)).await;
            assert_eq!(answer.json()["stdout"], expected, "{query:?}");
        }
        let ignored = sandbox.send(fed(sandbox, &[("command", "true")], vec![7; 8 << 20])).await;
        assert_eq!(ignored.json()["exit"], json!({ "type": "exited", "code": 0 }), "nobody reads it");
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_no_input_is_refused() {
    in_sandbox(async |sandbox| {
        let file =
            sandbox.request(Method::POST, "/file/stat?path=.").header("content-type", "application/octet-stream").body("x");
        for (request, code, reason) in [
            (fed(sandbox, &[("command", "cat"), ("stdin", "text")], "x"), "unsupported_media_type", json!("not_json")),
            (fed(sandbox, &[("comand", "cat")], "x"), "invalid_request", json!("unknown_field")),
            (fed(sandbox, &[], "x"), "invalid_request", json!("missing_field")),
            (file, "unsupported_media_type", json!("not_json")),
        ] {
            let refused = sandbox.send(request).await;
            let error: Value = refused.json()["error"].clone();
            assert_eq!((refused.code().as_str(), &error["details"]["reason"]), (code, &reason), "{error}");
        }
    })
    .await;
}
