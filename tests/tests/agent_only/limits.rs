//! Every limit of the agent refuses what exceeds it, says so, and admits the rest. Each case starts an agent with a limit of its own.

use cabana_protocol::{
    process::{List, Logs, SendSignal, Until, Wait},
    system::Stats,
};
use cabana_tests::{Answer, NDJSON, Sandbox, gather, http1, in_agent, in_agent_by, until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// Checks that this is a refusal for now, and gives what it says.
fn refused_for_now(answer: &Answer) -> Value {
    assert_eq!(answer.code(), "too_many_requests");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let mut error = answer.json()["error"].take();
    assert_eq!((&error["retryable"], &error["details"]["retry_after_ms"]), (&json!(true), &json!(1_000)));
    error["details"].take()
}

async fn runs(sandbox: &Sandbox) -> bool {
    sandbox.post("exec", json!({ "command": "true" })).await.status == 200
}

#[tokio::test]
async fn processes_above_the_limit_are_refused() {
    in_agent(&[("CABANA_MAX_PROCESSES", "2")], async |sandbox| {
        for name in ["one", "two"] {
            sandbox.exec(json!({ "command": "sleep 3586.5", "detach": true, "name": name })).await;
        }
        let details = refused_for_now(&sandbox.post("exec", json!({ "command": "true" })).await);
        assert_eq!(details["limit"], 2);
        sandbox.call(Stats {}).await;
        sandbox.call(SendSignal { process: "one".into(), signal: "SIGKILL".parse().unwrap() }).await;
        until("there is room", async || runs(sandbox).await).await;
    })
    .await;
}

#[tokio::test]
async fn operations_above_the_limit_of_a_socket_are_refused() {
    in_agent(&[("CABANA_MAX_OPERATIONS_PER_SOCKET", "1")], async |sandbox| {
        let mut socket = sandbox.connect().await;
        socket.send("exec", "first", json!({ "command": "sleep 3585.5" })).await;
        assert_eq!(socket.next().await["payload"]["type"], "started");
        socket.send("exec", "second", json!({ "command": "true" })).await;
        let refused = socket.next().await;
        assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("second")));
        assert_eq!(refused["payload"]["code"], "too_many_requests");
        assert_eq!(refused["payload"]["details"], json!({ "limit": 1, "retry_after_ms": 1_000 }));
        assert!(runs(sandbox).await, "others are not affected");
        socket.send("cancel", "first", json!({})).await;
        assert_eq!(socket.next().await["payload"]["exit"]["type"], "cancelled");
        socket.send("exec", "third", json!({ "command": "true" })).await;
        assert_eq!(socket.next().await["payload"]["type"], "started");
    })
    .await;
}

#[tokio::test]
async fn requests_above_the_limit_of_bytes_are_refused() {
    in_agent(&[("CABANA_MAX_REQUEST_BYTES", "1000")], async |sandbox| {
        let request = json!({ "command": ["true", "x".repeat(1_000)] });
        let answer = sandbox.post("exec", request.clone()).await;
        assert_eq!(answer.code(), "payload_too_large");
        assert_eq!(answer.json()["error"]["details"]["limit_bytes"], 1_000);
        let mut socket = sandbox.connect().await;
        socket.send("exec", "large", request).await;
        let refused = socket.next().await;
        assert_eq!(refused["payload"]["code"], "payload_too_large");
        assert_eq!(refused["payload"]["details"]["limit_bytes"], 1_000);
        socket.send("exec", "small", json!({ "command": "true" })).await;
        assert_eq!(socket.next().await["payload"]["type"], "started");
        sandbox.put("large", "x".repeat(100_000)).await.success();
        assert_eq!(sandbox.get("large").await.success().len(), 100_000, "the byte lane has no limit");
    })
    .await;
}

/// Prints so many bytes from a detached process, and tells how many of them are kept.
async fn kept(sandbox: &Sandbox, bytes: u64) -> u64 {
    let command = format!("head -c {bytes} /dev/zero");
    let process = sandbox.exec(json!({ "command": command, "detach": true })).await.result.process.to_string();
    sandbox.call(Wait { process: process.clone(), until: Until::EXIT, from: None, timeout_ms: None }).await;
    let log = sandbox.call(Logs { process, from: None, max_bytes: Some(0) }).await;
    assert_eq!(log.output_bytes, bytes);
    bytes - log.from
}

#[tokio::test]
async fn replay_keeps_as_much_output_as_its_limits_say() {
    const MIB: u64 = 1 << 20;
    // In memory there is the newest MiB, and some more that would go to disk next.
    for (variables, expected) in [
        (vec![("CABANA_REPLAY_BYTES", "100000"), ("CABANA_REPLAY_DISK_BYTES", "1")], 10_000..=100_000),
        (vec![("CABANA_REPLAY_BYTES", "100000")], 8 * MIB..=8 * MIB),
        (vec![("CABANA_REPLAY_DISK_BYTES", "1")], MIB - 10_000..=MIB + MIB / 8),
        (vec![("CABANA_REPLAY_DISK_BYTES", "2097152")], 3 * MIB - MIB / 8..=3 * MIB + MIB * 3 / 4),
        (vec![("CABANA_REPLAY_DISK_TOTAL_BYTES", "2097152")], 3 * MIB - MIB / 8..=3 * MIB + MIB * 3 / 4),
    ] {
        in_agent(&variables, async |sandbox| {
            let kept = kept(sandbox, 8 * MIB).await;
            assert!(expected.contains(&kept), "{variables:?}: {kept} bytes are kept");
        })
        .await;
    }
    in_agent(&[("CABANA_REPLAY_DISK_TOTAL_BYTES", "2097152")], async |sandbox| {
        for _ in 0..2 {
            kept(sandbox, 8 * MIB).await;
        }
        let mut all = 0;
        for process in sandbox.call(List::default()).await.processes {
            let request = Logs { process: process.process.to_string(), from: None, max_bytes: Some(0) };
            let log = sandbox.call(request).await;
            assert!(log.from < log.output_bytes - MIB, "none is robbed");
            all += log.output_bytes - log.from;
        }
        assert!(all <= 2 * MIB + 2 * (MIB + MIB * 3 / 4), "{all} bytes are kept of both");
    })
    .await;
}

#[tokio::test]
async fn requests_above_the_limit_of_connections_are_refused_and_health_answers() {
    in_agent(&[("CABANA_MAX_CONNECTIONS", "2")], async |sandbox| {
        let first = json!({ "command": "until [ -e go ]; do sleep 0.02; done" });
        let first = sandbox.stream(NDJSON, first).await;
        let socket = sandbox.connect().await;
        for body in ["x".repeat(10), "x".repeat(1 << 20)] {
            let answer = sandbox.send(sandbox.request(Method::POST, "/exec").json(&json!({ "command": ["true", body] }))).await;
            assert_eq!(refused_for_now(&answer)["limit"], 2);
        }
        assert_eq!(health(sandbox).await["status"], "ok");
        std::fs::write(format!("{}/go", sandbox.root), "").unwrap();
        assert!(gather(first).await.2.success());
        until("there is room", async || runs(sandbox).await).await;
        drop(socket);
    })
    .await;
}

/// What the agent says of itself, which needs no secret.
async fn health(sandbox: &Sandbox) -> Value {
    let url = sandbox.url("").replace("/v1", "/health");
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn thousands_of_idle_connections_keep_nobody_from_the_agent() {
    in_agent_by(&["sh", "-c", "ulimit -n 256; exec \"$0\""], &[], async |sandbox| {
        let request = sandbox.request(Method::POST, "/exec").build().unwrap();
        let mut open = Vec::new();
        for round in 0..20 {
            // The oldest are closed by the agent; what is written to them meanwhile fails.
            for _ in 0..100 {
                open.push(http1::dial(&request).await);
            }
            assert_eq!(health(sandbox).await["status"], "ok", "{round}");
            assert_eq!(sandbox.shell("echo fine").await, "fine\n", "{round}");
        }
        drop(open);
        assert_eq!(sandbox.shell("echo fine").await, "fine\n");
    })
    .await;
}

#[tokio::test]
async fn health_answers_when_callers_use_up_the_descriptors() {
    in_agent_by(&["sh", "-c", "ulimit -n 256; exec \"$0\""], &[], async |sandbox| {
        let mut running = Vec::new();
        let refused = loop {
            let request = sandbox.request(Method::POST, "/exec").header("accept", NDJSON);
            let answer =
                request.json(&json!({ "command": "exec sleep 3584.5", "stdin": { "stream": true } })).send().await.unwrap();
            if answer.status() != 200 {
                break Answer::of(answer).await;
            }
            running.push(answer);
            assert!(running.len() < 256, "the descriptors do not run out");
        };
        assert_eq!(refused.code(), "too_many_requests", "{}", refused.json());
        for _ in 0..20 {
            assert_eq!(health(sandbox).await["status"], "ok");
        }
        drop(running);
        until("it has recovered", async || runs(sandbox).await).await;
    })
    .await;
}

/// A request of which only the head has come, which says that its body has so many bytes.
pub(super) async fn announce(sandbox: &Sandbox, bytes: usize) -> tokio::net::TcpStream {
    let request = sandbox.request(Method::POST, "/exec").build().unwrap();
    let mut stream = http1::dial(&request).await;
    stream.write_all(http1::head(&request, &format!("Content-Length: {bytes}\r\n\r\n")).as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn requests_above_the_memory_budget_are_refused() {
    in_agent(&[("CABANA_MEMORY_BYTES", "4194304")], async |sandbox| {
        let large = || json!({ "command": "cat | wc -c", "stdin": "x".repeat(3 << 20) });
        let first = announce(sandbox, 3 << 20).await;
        let mut refused = sandbox.post("exec", large()).await;
        until("the first has been read", async || {
            refused = sandbox.post("exec", large()).await;
            refused.status != 200
        })
        .await;
        assert_eq!(refused_for_now(&refused)["limit_bytes"], 4 << 20);
        assert!(runs(sandbox).await, "small requests are not affected");
        drop(first);
        until("there is room", async || sandbox.post("exec", large()).await.status == 200).await;
        let answer = sandbox.post("exec", json!({ "command": "true", "stdin": "x".repeat(5 << 20) })).await;
        assert_eq!(answer.code(), "payload_too_large");
        assert_eq!(answer.json()["error"]["details"]["limit_bytes"], 4 << 20);
    })
    .await;
}

#[tokio::test]
async fn folded_output_stays_within_the_memory_budget() {
    in_agent(&[("CABANA_MEMORY_BYTES", "4194304")], async |sandbox| {
        for (command, printed) in [("yes | head -c 16777216", "y\n"), ("head -c 16777216 /dev/zero", "\0")] {
            let request = json!({ "command": format!("{command}; {command} >&2"), "max_output_bytes": 16 << 20 });
            let answer = sandbox.post("exec", request).await;
            let length = answer.bytes.len();
            assert!((1 << 20..=4 << 20).contains(&length), "{command}: {length} bytes");
            let output: Value = answer.json();
            assert_eq!((&output["truncated"], &output["stdout_bytes"]), (&json!(true), &json!(16 << 20)));
            assert!(output["stdout"].as_str().unwrap().starts_with(printed));
        }
        assert!(runs(sandbox).await);
    })
    .await;
}

#[tokio::test]
async fn sessions_above_the_limit_are_refused() {
    in_agent(&[("CABANA_MAX_SESSIONS", "2")], async |sandbox| {
        let create = async || sandbox.post("session.create", json!({})).await;
        let first = create().await.json();
        create().await.success();
        assert_eq!(refused_for_now(&create().await)["limit"], 2);
        assert!(runs(sandbox).await, "others are not affected");
        sandbox.post("session.delete", json!({ "session": first["session"] })).await.success();
        until("there is room", async || create().await.status == 200).await;
    })
    .await;
}

#[tokio::test]
async fn commands_above_the_queue_of_a_session_are_refused() {
    in_agent(&[], async |sandbox| {
        let session = sandbox.post("session.create", json!({})).await.json()["session"].clone();
        let mut socket = sandbox.connect().await;
        let request = json!({ "command": "until [ -e go ]; do sleep 0.02; done", "session": session });
        socket.send("exec", "runs", request.clone()).await;
        assert_eq!(socket.wait_for("event", "runs").await["type"], "started");
        for number in 0..65 {
            socket.send("exec", &number.to_string(), request.clone()).await;
        }
        let refused = socket.wait_for("error", "64").await;
        assert_eq!((&refused["code"], &refused["details"]["limit"]), (&json!("too_many_requests"), &json!(64)));
        sandbox.put("go", "").await.success();
        socket.wait_for("result", "63").await;
    })
    .await;
}
