//! Every limit of the agent refuses what exceeds it, says so, and admits the rest. Each case starts an agent with a limit of its own.

use cabana_protocol::{
    process::{List, Logs, SendSignal, Until, Wait},
    system::Stats,
};
use cabana_tests::{Answer, NDJSON, Sandbox, gather, in_agent, until};
use reqwest::Method;
use serde_json::{Value, json};

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
        assert_eq!(socket.next().await["payload"]["exit"]["reason"], "cancelled");
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
    sandbox.call(Wait { process: process.clone(), until: Until::Exit {}, timeout_ms: None }).await;
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
        for process in sandbox.call(List {}).await.processes {
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
async fn connections_above_the_limit_wait_for_one_to_end() {
    in_agent(&[("CABANA_MAX_CONNECTIONS", "1")], async |sandbox| {
        let first = json!({ "command": "until [ -e go ]; do sleep 0.02; done" });
        let first = sandbox.stream(NDJSON, first).await;
        let second = tokio::spawn(sandbox.request(Method::POST, "/exec").json(&json!({ "command": "ls go" })).send());
        std::fs::write(format!("{}/go", sandbox.root), "").unwrap();
        assert!(gather(first).await.2.success());
        let answer: Value = second.await.unwrap().unwrap().json().await.unwrap();
        assert_eq!(answer["stdout"], "go\n", "the second waited for the first to end");
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
