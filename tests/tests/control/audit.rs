//! The audit of a sandbox.

use cabana_tests::{Caller, NDJSON, SSE, Sandbox, in_sandbox, until};
use futures_util::StreamExt;
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};

use super::{create, destroy, exec, fresh_name, request};

/// The entries that a query finds, newest first.
async fn entries(sandbox: &Sandbox, query: &str) -> Vec<Value> {
    let page = sandbox.send(sandbox.request(Method::GET, &format!("/audit?{query}"))).await.json();
    page["items"].as_array().unwrap_or_else(|| panic!("{page}")).clone()
}

/// Waits for the one entry that a query finds, until it satisfies.
async fn entry(sandbox: &Sandbox, query: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    until(&format!("an entry of {query}"), async || {
        let entries = entries(sandbox, query).await;
        assert!(entries.len() <= 1, "{entries:?}");
        found = entries.into_iter().next().unwrap_or_default();
        satisfies(&found)
    })
    .await;
    found
}

#[tokio::test]
async fn every_request_leaves_an_entry() {
    in_sandbox(async |sandbox| {
        let secret = "hunter2-hunter2";
        let cases = [
            ("exec", json!({ "command": "echo a\nb", "env": { "A": secret } }), "exec", "ok", 200, Some("echo a\\nb")),
            ("exec", json!({ "command": ["echo", secret], "env": { "A": secret } }), "exec", "ok", 200, Some("echo ***")),
            ("exec", json!({ "command": "API_TOKEN=abc true" }), "exec", "ok", 200, Some("API_TOKEN=*** true")),
            ("exec", json!({ "command": "exit 3" }), "exec", "ok", 200, Some("exit 3")),
            ("exec", json!({ "command": 7 }), "exec", "invalid_request", 400, None),
            ("file.stat", json!({ "path": "none" }), "file.stat", "not_found", 404, Some("none")),
            ("file.write", json!({ "path": "f", "content": "x" }), "file.write", "ok", 200, Some("f")),
            (
                "git.clone",
                json!({ "url": "https://me:hunter2@localhost/a.git" }),
                "git.clone",
                "invalid_request",
                400,
                Some("https://***@localhost/a.git"),
            ),
            ("no.such", json!({}), "no.such", "not_found", 404, None),
        ];
        for (number, (name, body, operation, outcome, status, summary)) in cases.into_iter().enumerate() {
            let size = body.to_string().len();
            let id = format!("case-{number}");
            let route = format!("/{}", name.replace('.', "/"));
            let answer = sandbox.send(sandbox.request(Method::POST, &route).header("x-request-id", &id).json(&body)).await;
            assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.json());
            assert!(
                answer.header("x-cabana-summary").or(answer.header("x-cabana-code")).is_none(),
                "what is for the audit stays there"
            );
            let mut found = Value::Null;
            until("the entry", async || {
                let entries = entries(sandbox, "limit=5").await;
                found = entries.into_iter().find(|entry| entry["request_id"] == id.as_str()).unwrap_or_default();
                !found.is_null()
            })
            .await;
            let told = (
                found["operation"].as_str(),
                found["outcome"].as_str(),
                found["status"].as_u64(),
                found["agent_summary"].as_str(),
            );
            assert_eq!(told, (Some(operation), Some(outcome), Some(status.into()), summary), "{found}");
            assert_eq!(
                (found["bytes_in"].as_u64(), found["bytes_out"].as_u64()),
                (Some(size as u64), Some(answer.bytes.len() as u64)),
                "{found}"
            );
            assert!(
                !found.to_string().contains("hunter2") && found["duration_ms"].is_u64() && found["principal"].is_string(),
                "{found}"
            );
        }
        let verified = sandbox.send(sandbox.request(Method::GET, "/audit/verify")).await.json();
        assert_eq!((&verified["intact"], verified["records"].as_u64() >= Some(10)), (&json!(true), true), "{verified}");
        // A page that begins behind the newest record has nothing to check; one that begins elsewhere is no page of this trail.
        let page =
            async |cursor: &str| sandbox.send(sandbox.request(Method::GET, &format!("/audit/verify?cursor={cursor}"))).await;
        let (last, head) = (verified["last"].as_u64().unwrap(), verified["head"].as_str().unwrap());
        let rest = page(&format!("{last}.{head}")).await.json();
        assert_eq!((&rest["intact"], &rest["cursor"]), (&json!(true), &Value::Null), "{rest}");
        let foreign = page(&format!("{}.{head}", last - 1)).await.json();
        assert_eq!((&foreign["intact"], &foreign["broken_at"]), (&json!(false), &json!(last)), "{foreign}");
        assert_eq!(page("nonsense").await.code(), "invalid_request");
    })
    .await;
}

#[tokio::test]
async fn bodies_are_counted_with_and_without_a_length() {
    in_sandbox(async |sandbox| {
        let size = 300_000;
        let pieces = futures_util::stream::iter((0..30).map(move |_| Ok::<_, std::io::Error>(vec![b'x'; size / 30])));
        let put = sandbox.file(Method::PUT, "lane").body(Body::wrap_stream(pieces));
        sandbox.send(put).await.success();
        let written = entry(sandbox, "operation=file.write", |entry| entry["outcome"] == "ok").await;
        assert_eq!((written["bytes_in"].as_u64(), written["agent_summary"].as_str()), (Some(size as u64), Some("PUT lane")));
        let read = sandbox.get("lane").await.success();
        let told = entry(sandbox, "operation=file.read", |entry| entry["outcome"] == "ok").await;
        assert_eq!((told["bytes_out"].as_u64(), read.len()), (Some(size as u64), size));
        let archive = sandbox.send(sandbox.request(Method::GET, "/archive?path=.").header("x-request-id", "tar")).await.success();
        let told = entry(sandbox, "operation=file.read&outcome=finished", |entry| entry["duration_ms"].is_u64()).await;
        assert_eq!((told["bytes_out"].as_u64(), told["request_id"].as_str()), (Some(archive.len() as u64), Some("tar")));
    })
    .await;
}

#[tokio::test]
async fn a_finished_stream_is_audited_with_its_outcome() {
    in_sandbox(async |sandbox| {
        let request = json!({ "command": "echo begun; cat fifo; exit 1" });
        sandbox.shell("mkfifo fifo").await;
        let mut lines = sandbox.stream(NDJSON, request.clone()).await;
        lines.next().await.unwrap();
        let open = entry(sandbox, "outcome=open", |entry| entry["operation"] == "exec").await;
        assert_eq!((&open["status"], &open["duration_ms"]), (&json!(200), &Value::Null), "{open}");
        sandbox.shell("echo > fifo").await;
        while lines.next().await.is_some() {}
        let finished = entry(sandbox, "outcome=finished", |entry| entry["duration_ms"].is_u64()).await;
        assert_eq!(finished["id"], open["id"], "an entry keeps its number");
        assert!(finished["bytes_out"].as_u64() > Some(100), "{finished}");
        let mut lines = sandbox.stream(SSE, request).await;
        lines.next().await.unwrap();
        entry(sandbox, "outcome=open", |entry| entry["operation"] == "exec").await;
        drop(lines);
        entry(sandbox, "outcome=cut", |entry| entry["duration_ms"].is_u64()).await;
        assert!(entries(sandbox, "outcome=open").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_running_operation_has_an_open_entry() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkfifo fifo").await;
        let slow = sandbox.exec(json!({ "command": "cat fifo" }));
        let meanwhile = async {
            entry(sandbox, "outcome=open", |entry| entry["operation"] == "exec" && entry["status"].is_null()).await;
            sandbox.shell("echo > fifo").await;
        };
        tokio::join!(slow, meanwhile);
        until("it is over", async || entries(sandbox, "outcome=open").await.is_empty()).await;
        assert!(
            entries(sandbox, "operation=exec")
                .await
                .iter()
                .all(|entry| ["ok", "finished"].contains(&entry["outcome"].as_str().unwrap()))
        );
    })
    .await;
}

#[tokio::test]
async fn socket_operations_are_audited_like_http_requests() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        for (name, payload, ends, outcome, summary) in [
            ("exec", json!({ "command": "echo API_TOKEN=hunter2" }), "result", "ok", Some("echo API_TOKEN=***")),
            ("file.stat", json!({ "path": "none" }), "error", "not_found", Some("none")),
            ("exec", json!({ "command": 7 }), "error", "invalid_request", None),
            ("process.list", json!({}), "result", "ok", None),
        ] {
            // As long as an id may be, every character of it escaped.
            let id = "\u{1}".repeat(128);
            socket.send(name, &id, payload).await;
            socket.wait_for(ends, &id).await;
            let mut newest = Value::Null;
            until("the entry", async || {
                newest = entries(sandbox, &format!("operation={name}&limit=1")).await.pop().unwrap_or_default();
                newest["outcome"] == outcome && newest["duration_ms"].is_u64()
            })
            .await;
            assert_eq!((newest["agent_summary"].as_str(), newest["bytes_in"].as_u64() > Some(100)), (summary, true), "{newest}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_answered_request_is_listed_at_once() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect().await;
        for number in 0..20 {
            let path = number.to_string();
            if number % 2 == 0 {
                socket.send("file.stat", "a", json!({ "path": path })).await;
                socket.wait_for("error", "a").await;
            } else {
                sandbox.post("file.stat", json!({ "path": path })).await;
            }
            let entry = entries(sandbox, "operation=file.stat&limit=1").await.pop().unwrap();
            let told = (entry["outcome"].as_str(), entry["agent_summary"].as_str(), entry["duration_ms"].is_u64());
            assert_eq!(told, (Some("not_found"), Some(path.as_str()), true));
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_of_all_frames_of_an_operation_are_counted() {
    in_sandbox(async |sandbox| {
        let mut socket = sandbox.connect_with("?binary=1").await.unwrap();
        socket.send("exec", "a", json!({ "command": "cat", "stdin": { "stream": true } })).await;
        for _ in 0..2 {
            socket.send_binary("input", "a", json!({ "type": "stdin", "bytes": "" }), &[0xff; 50_000]).await;
        }
        socket.send("input", "a", json!({ "type": "eof" })).await;
        assert_eq!(socket.output_bytes("a").await.0.len(), 100_000);
        let entry = entry(sandbox, "operation=exec&limit=1", |entry| entry["outcome"] == "ok").await;
        let counts = [&entry["bytes_in"], &entry["bytes_out"]].map(|count| count.as_u64().unwrap());
        assert!(counts.iter().all(|count| (100_001..110_000).contains(count)), "{counts:?}");
    })
    .await;
}

#[tokio::test]
async fn requests_refused_by_scopes_are_audited() {
    in_sandbox(async |sandbox| {
        let reader = Caller::of_tenant("default", json!({ "read_only": true })).await;
        let id = sandbox.url("").rsplit('/').next().unwrap().to_owned();
        assert_eq!(reader.post(&format!("/v1/sandboxes/{id}/exec"), json!({ "command": "true" })).await.code(), "forbidden");
        let refused = entry(sandbox, "outcome=forbidden", |entry| !entry.is_null()).await;
        let principal = format!("key:{}", reader.key_id());
        assert_eq!((refused["operation"].as_str(), refused["principal"].as_str()), (Some("exec"), Some(principal.as_str())));
    })
    .await;
}

#[tokio::test]
async fn a_name_that_another_tenant_uses_too_shows_each_its_own_entries() {
    let (one, other) = (fresh_name("one"), fresh_name("other"));
    let (one, other) = (Caller::of_tenant(&one, json!({})).await, Caller::of_tenant(&other, json!({})).await);
    let name = fresh_name("hands");
    let (id, made) = (format!("sbx-{name}"), json!({ "name": name }));
    let audit = format!("/v1/sandboxes/{id}/audit");
    let told = async |caller: &Caller| -> Vec<String> {
        let page = caller.get(&audit).await.json();
        let entries = page["items"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["operation"].as_str().unwrap().to_owned()).collect()
    };
    one.post("/v1/sandboxes", made.clone()).await.success();
    until("one's was made", async || told(&one).await == ["sandbox.create"]).await;
    one.delete(&format!("/v1/sandboxes/{id}")).await.success();
    until("it is destroyed, and its audit is there", async || told(&one).await == ["sandbox.delete", "sandbox.create"]).await;
    assert_eq!(other.get(&audit).await.code(), "not_found", "it is not the other's");
    other.post("/v1/sandboxes", made).await.success();
    until("the other's was made", async || told(&other).await == ["sandbox.create"]).await;
    assert_eq!(told(&one).await, ["sandbox.delete", "sandbox.create"], "one's is as it was");
    other.delete(&format!("/v1/sandboxes/{id}")).await.success();
    until("both have their own", async || told(&other).await.len() == 2 && told(&one).await.len() == 2).await;
}

#[tokio::test]
async fn entries_are_filtered_and_listed_in_pages() {
    in_sandbox(async |sandbox| {
        for number in 0..7 {
            sandbox.put(&format!("f{number}"), "x").await.success();
        }
        until("all are there", async || entries(sandbox, "operation=file").await.len() == 7).await;
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = sandbox.send(sandbox.request(Method::GET, &format!("/audit?operation=file&limit=3{cursor}"))).await.json();
            seen.extend(
                page["items"].as_array().unwrap().iter().map(|entry| entry["agent_summary"].as_str().unwrap().to_owned()),
            );
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, (0..7).rev().map(|number| format!("PUT f{number}")).collect::<Vec<_>>(), "newest first, each once");
        let newest = entries(sandbox, "operation=file&limit=1").await.remove(0);
        let at = newest["at"].as_str().unwrap();
        for (query, count) in [
            ("operation=fil".to_owned(), 0),
            ("operation=sandbox.create".to_owned(), 1),
            ("principal=nobody".to_owned(), 0),
            (format!("principal={}&operation=file", newest["principal"].as_str().unwrap()), 7),
            ("outcome=not_found".to_owned(), 0),
            ("to=2020-01-01T00:00:00Z".to_owned(), 0),
            ("from=2020-01-01T00:00:00Z&operation=file".to_owned(), 7),
            (format!("to={at}&operation=file.read"), 0),
        ] {
            assert_eq!(entries(sandbox, &query).await.len(), count, "{query}");
        }
        for query in ["limit=0", "limit=x", "cursor=x", "from=yesterday", "to=7"] {
            assert_eq!(
                sandbox.send(sandbox.request(Method::GET, &format!("/audit?{query}"))).await.code(),
                "invalid_request",
                "{query}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn the_audit_outlives_the_sandbox_and_does_not_wake_it() {
    let name = fresh_name("audit");
    let id = format!("sbx-{name}");
    let audit = format!("/v1/sandboxes/{id}/audit");
    let operations = async || -> Vec<String> {
        let (status, page) = request(Method::GET, &audit, None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let entries = page["items"].as_array().unwrap();
        entries.iter().map(|entry| entry["operation"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(request(Method::GET, &audit, None).await.0, StatusCode::NOT_FOUND, "where there was nothing, there is nothing");
    exec(&id, "true").await;
    assert_eq!(
        request(Method::GET, &audit, None).await.0,
        StatusCode::NOT_FOUND,
        "who asks for what there is not leaves nothing"
    );
    create(json!({ "name": name })).await;
    until("it was made", async || operations().await == ["sandbox.create"]).await;
    assert_eq!(super::state(&id).await, "created");
    exec(&id, "true").await;
    destroy(&id).await;
    until("it is destroyed", async || operations().await == ["sandbox.delete", "exec", "sandbox.create"]).await;
    create(json!({ "name": name })).await;
    until("it is there again", async || operations().await.len() == 4).await;
    let (_, verified) = request(Method::GET, &format!("{audit}/verify"), None).await;
    // A request that took long has two records.
    let checked = verified["records"].as_u64();
    assert!(verified["intact"] == true && checked >= Some(4) && checked == verified["last"].as_u64(), "{verified}");
    destroy(&id).await;
}
