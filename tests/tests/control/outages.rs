//! Services that are killed under everybody: the runtime of the Durable Objects, and the engine of the containers. Each is started again by
//! its own supervisor. These cases run alone, where `CABANA_TEST_OUTAGES` says so.

use std::time::Instant;

use cabana_tests::Sandbox;
use reqwest::Client;
use serde_json::json;

use super::lifecycle::{
    Named,
    host::{self, Process},
    pause,
};

/// Whether a service may be taken down.
fn alone() -> bool {
    std::env::var_os("CABANA_TEST_OUTAGES").is_some()
}

/// The runtime that holds the Durable Objects: the one beside that which listens for callers.
fn runtime() -> Process {
    let (url, _) = Sandbox::service();
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    let entry = *host::find(&format!("entry=127.0.0.1:{port}")).iter().find(|process| process.name() == "workerd").unwrap();
    let beside = |process: &&Process| process.name() == "workerd" && process.parent() == entry.parent() && **process != entry;
    *host::find("workerd\0serve").iter().find(beside).unwrap()
}

async fn engine_of(sandbox: &Named) -> Process {
    let agent = host::agent_of(sandbox).await.unwrap();
    std::iter::successors(Some(agent), |process| process.parent()).find(|process| process.name() == "cabana-engine").unwrap()
}

/// Something that is carried out while `service` is killed: whatever comes of the call, it is over. Answers with how long it then took until the
/// sandbox could be used again.
async fn kill(sandbox: &Named, service: Process, what: &str) {
    let (url, key) = Sandbox::service();
    let call = Client::new().post(format!("{url}/v1/sandboxes/{}/exec", sandbox.id)).bearer_auth(key);
    let call = call.json(&json!({ "command": "echo once >> counter; sleep 600" })).send();
    let killing = async {
        pause(1_000).await;
        service.signal("KILL");
        Instant::now()
    };
    let (cut, begun) = tokio::join!(call, killing);
    // A gateway that was killed itself cannot say anything about it.
    if let Ok(cut) = cut {
        assert!(!cut.text().await.unwrap_or_default().contains("exited"), "it did not run to its end");
    }
    while sandbox.try_run("true").await.is_none_or(|status| !status.is_success()) {
        assert!(begun.elapsed() < cabana_tests::PATIENCE, "never back");
        pause(50).await;
    }
    eprintln!("{what}: back after {} ms", begun.elapsed().as_millis());
}

#[tokio::test]
async fn a_runtime_that_is_killed_loses_nothing() {
    if !alone() {
        return;
    }
    let sandbox = Named::new("runtime", json!({ "sleep_after_ms": 700_000, "env": { "A": "kept" } })).await;
    sandbox.print("echo file > f").await;
    kill(&sandbox, runtime(), "the runtime, killed in an exec").await;
    assert_eq!(
        sandbox.print("cat f counter; echo $A").await,
        "file\nonce\nkept\n",
        "nothing is lost, and nothing was done twice"
    );
    let shown = sandbox.show().await;
    assert_eq!(
        (&shown["starts"], &shown["sleep_after_ms"]),
        (&json!(1), &json!(700_000)),
        "its container has outlived that: {shown}"
    );
    assert_eq!(sandbox.count("sleep 600").await, 0, "what nobody waits for any more has ended");
    sandbox.end().await;
}

#[tokio::test]
async fn an_engine_that_is_killed_takes_containers_with_it_and_nothing_else() {
    if !alone() {
        return;
    }
    let sandbox = Named::new("engine", json!({ "env": { "A": "kept" } })).await;
    let engine = engine_of(&sandbox).await;
    kill(&sandbox, engine, "the engine, killed in an exec").await;
    assert_eq!(sandbox.print("cat counter 2>/dev/null; echo $A").await, "kept\n", "nothing was done twice");
    let shown = sandbox.show().await;
    assert_eq!((&shown["state"], &shown["starts"]), (&json!("running"), &json!(2)), "{shown}");
    sandbox.end().await;
}
