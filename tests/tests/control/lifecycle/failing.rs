use cabana_tests::until;
use futures_util::{StreamExt, stream};
use reqwest::Body;

use super::*;
use crate::control::code;

#[tokio::test]
async fn a_command_of_a_killed_agent_is_interrupted_and_not_repeated() {
    let sandbox = Named::new("killed", json!({})).await;
    let Some(agent) = host::agent_of(&sandbox).await else { return sandbox.end().await };
    let running = sandbox.run("echo once >> counter; sleep 600");
    let killing = async {
        while sandbox.run("cat counter").await.1["stdout"] != "once\n" {
            pause(20).await;
        }
        agent.signal("KILL");
    };
    let ((status, cut), ()) = tokio::join!(running, killing);
    assert_eq!((status, code(&cut)), (StatusCode::CONFLICT, "interrupted"), "{cut}");
    sandbox.recover().await;
    assert_eq!(sandbox.print("cat counter 2>/dev/null || echo nothing").await, "nothing\n", "it was not carried out again");
    let shown = sandbox.show().await;
    assert_eq!((&shown["starts"], &shown["last_failure"]["type"]), (&json!(2), &json!("crashed")), "{shown}");
    assert!(shown["last_failure"]["at"].is_string() && shown["state"] == "running");
    sandbox.end().await;
}

#[tokio::test]
async fn an_upload_to_a_killed_agent_is_interrupted_and_leaves_nothing() {
    let sandbox = Named::new("upload", json!({})).await;
    let Some(agent) = host::agent_of(&sandbox).await else { return sandbox.end().await };
    let pieces = stream::iter(0..200).then(move |number| async move {
        pause(20).await;
        if number == 50 {
            agent.signal("KILL");
        }
        Ok::<_, std::io::Error>(vec![b'x'; 1 << 10])
    });
    let upload = sandbox.request(Method::PUT, "/files?path=f");
    // The connection may break before the answer is read: its body was still under way.
    if let Ok(answer) = upload.body(Body::wrap_stream(pieces)).send().await {
        assert_eq!(code(&answer.json().await.unwrap()), "interrupted");
    }
    sandbox.recover().await;
    assert_eq!(sandbox.print("ls -A").await, "");
    sandbox.end().await;
}

#[tokio::test]
async fn a_socket_survives_a_killed_agent() {
    let sandbox = Named::new("socket", json!({})).await;
    let Some(agent) = host::agent_of(&sandbox).await else { return sandbox.end().await };
    let mut socket = sandbox.connect().await.unwrap();
    socket.send("exec", "1", json!({ "command": "echo up; sleep 600" })).await;
    while socket.wait_for("event", "1").await["bytes"] != "up\n" {}
    agent.signal("KILL");
    let interrupted = socket.wait_for("error", "1").await;
    assert_eq!((&interrupted["code"], &interrupted["details"]["admitted"]), (&json!("interrupted"), &json!(true)));
    sandbox.recover().await;
    socket.send("exec", "1", json!({ "command": "true" })).await;
    assert_eq!(socket.wait_for("result", "1").await["exit"]["code"], 0);
    sandbox.end().await;
}

#[tokio::test]
async fn an_agent_that_hangs_is_replaced() {
    let sandbox = Named::new("hangs", json!({})).await;
    let Some(agent) = host::agent_of(&sandbox).await else { return sandbox.end().await };
    let running = sandbox.run("sleep 600");
    let halting = async {
        until("it runs", async || sandbox.count("sleep 600").await > 0).await;
        agent.signal("STOP");
    };
    let ((status, cut), ()) = tokio::join!(running, halting);
    assert_eq!((status, code(&cut)), (StatusCode::CONFLICT, "interrupted"), "{cut}");
    sandbox.recover().await;
    let shown = sandbox.show().await;
    assert_eq!((&shown["last_failure"]["type"], &shown["starts"]), (&json!("unresponsive"), &json!(2)), "{shown}");
    sandbox.end().await;
}

#[tokio::test]
async fn a_crash_loop_is_delayed_and_recovers() {
    let sandbox = Named::new("loop", json!({})).await;
    let mut kills = 0;
    let (status, refused) = loop {
        let (status, answer) = sandbox.run("true").await;
        if status == StatusCode::OK {
            let Some(agent) = host::agent_of(&sandbox).await else { return sandbox.end().await };
            agent.signal("KILL");
            kills += 1;
        } else if answer["error"]["details"]["reason"] == "crashed" {
            break (status, answer);
        }
        assert!(kills < 20, "it is started again and again");
    };
    assert_eq!((status, code(&refused)), (StatusCode::SERVICE_UNAVAILABLE, "container_not_ready"));
    let details = &refused["error"]["details"];
    assert!(details["retry_after_ms"].as_u64() > Some(0) && details["reason"] == "crashed", "{refused}");
    let shown = sandbox.show().await;
    assert!(kills > 3 && shown["state"] == "failed" && shown["retry_at"].is_string(), "{kills} {shown}");
    sandbox.recover().await;
    sandbox.end().await;
}

#[tokio::test]
async fn a_crash_is_reported_to_whoever_looks_first() {
    let sandbox = Named::new("looked-at", json!({})).await;
    let Some(agent) = host::agent_of(&sandbox).await else { return sandbox.end().await };
    agent.signal("KILL");
    let shown = sandbox.until("failed").await;
    assert_eq!(
        (&shown["state_reason"]["type"], &shown["last_failure"]["type"]),
        (&json!("crashed"), &json!("crashed")),
        "{shown}"
    );
    sandbox.recover().await;
    sandbox.end().await;
}
