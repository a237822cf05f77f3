//! Starts that fail at the engine, where the stack runs on this machine: refused, unanswered, without capacity, or of an agent of another
//! version.

use cabana_tests::until;

use super::*;
use crate::control::{
    code,
    local_engine::{LocalEngine, StartFault, StartMark},
};

/// An agent of another version. Its arguments are the protocol of its health, and its answer to every operation.
const OTHER_AGENT: &str = include_str!("other_agent.py");

/// The error of a start that the engine refuses. The local runtime does not pass on the engine's reason.
const REFUSED: &str = "the container ended while it started: Container failed to start";

/// Runs a case with the engine, a sandbox that was never started, and the mark by which faults match it.
async fn with_engine(case: &str, run: impl AsyncFnOnce(&LocalEngine, &Named, &StartMark)) {
    let neighbor = Named::new("neighbor", json!({})).await;
    let Some(engine) = LocalEngine::find(&neighbor).await else { return neighbor.end().await };
    let mark = StartMark::new(case);
    let sandbox = Named::new(case, json!({ "env": mark.variables() })).await;
    run(&engine, &sandbox, &mark).await;
    assert_eq!(neighbor.print("echo unharmed").await, "unharmed\n");
    neighbor.end().await;
    sandbox.end().await;
}

/// Uses the sandbox, and checks that the response says to retry later. Returns the error's message.
async fn check_not_ready(sandbox: &Named) -> String {
    let request = sandbox.request(Method::POST, "/exec").json(&json!({ "command": "echo up" }));
    let response = request.send().await.unwrap();
    let status = response.status();
    let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let body: Value = response.json().await.unwrap();
    assert_eq!((status, code(&body)), (StatusCode::SERVICE_UNAVAILABLE, "container_not_ready"), "{body}");
    assert!(body["error"]["retryable"] == true && retry_after >= 1, "{body}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// Removes the fault, checks that the sandbox starts, and that no container is left when it is destroyed. Returns the sandbox as shown while
/// it ran.
async fn check_recovery(engine: &LocalEngine, sandbox: &Named, fault: &StartFault<'_>) -> Value {
    let containers = fault.remove().await;
    until("the sandbox starts", async || sandbox.run("echo up").await.1["stdout"] == "up\n").await;
    let shown = sandbox.show().await;
    assert_eq!(shown["state"], "running");
    assert_eq!(destroy(&sandbox.id).await, StatusCode::NO_CONTENT);
    for container in containers {
        until("the container is removed", async || !engine.has(&container).await).await;
    }
    shown
}

#[tokio::test]
async fn a_start_refused_once_is_reported_and_the_next_succeeds() {
    with_engine("refused", async |engine, sandbox, mark| {
        let fault = engine.inject(mark, json!("refuse"), Some(1)).await;
        let message = check_not_ready(sandbox).await;
        assert_eq!(message, REFUSED);
        let shown = sandbox.show().await;
        assert_eq!((&shown["state"], &shown["last_failure"]["type"]), (&json!("failed"), &json!("start_failed")), "{shown}");
        assert_eq!(sandbox.print("echo up").await, "up\n");
        assert_eq!(fault.hits().await.len(), 1, "the second start was not hit");
        check_recovery(engine, sandbox, &fault).await;
    })
    .await;
}

#[tokio::test]
async fn a_start_without_capacity_is_reported_until_there_is_some() {
    with_engine("capacity", async |engine, sandbox, mark| {
        let fault = engine.inject(mark, json!("no_capacity"), None).await;
        for _ in 0..3 {
            assert_eq!(check_not_ready(sandbox).await, REFUSED);
        }
        let shown = sandbox.show().await;
        assert_eq!((&shown["state"], &shown["last_failure"]["type"]), (&json!("failed"), &json!("start_failed")), "{shown}");
        assert_eq!(fault.hits().await.len(), 3, "one start for each request");
        check_recovery(engine, sandbox, &fault).await;
    })
    .await;
}

#[tokio::test]
async fn a_start_that_hangs_is_reported_and_goes_on_when_the_engine_answers() {
    with_engine("hangs", async |engine, sandbox, mark| {
        let fault = engine.inject(mark, json!("hang"), None).await;
        check_not_ready(sandbox).await;
        assert_eq!(sandbox.show().await["state"], "starting");
        assert_eq!(fault.hits().await.len(), 1, "many requests share one start");
        let shown = check_recovery(engine, sandbox, &fault).await;
        assert_eq!((&shown["starts"], &shown["last_failure"]), (&json!(1), &Value::Null), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn a_sandbox_destroyed_while_its_start_hangs_leaves_no_container() {
    with_engine("doomed", async |engine, sandbox, mark| {
        let fault = engine.inject(mark, json!("hang"), None).await;
        let start = sandbox.run("true");
        let destruction = async {
            until("the start hangs", async || !fault.hits().await.is_empty()).await;
            destroy(&sandbox.id).await
        };
        let release = async {
            let is_gone = async || sandbox.call(Method::GET, "", None).await.0 == StatusCode::NOT_FOUND;
            until("the sandbox is destroyed", is_gone).await;
            fault.remove().await
        };
        let ((status, body), destroyed, containers) = tokio::join!(start, destruction, release);
        assert_eq!((status, code(&body)), (StatusCode::SERVICE_UNAVAILABLE, "container_not_ready"), "{body}");
        assert_eq!(destroyed, StatusCode::NO_CONTENT);
        for container in containers {
            until("the container is removed", async || !engine.has(&container).await).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_agent_of_an_older_protocol_is_refused() {
    with_engine("older", async |engine, sandbox, mark| {
        let older = json!({ "run": ["python3", "-c", OTHER_AGENT, "0", ""] });
        let fault = engine.inject(mark, older, None).await;
        let (status, body) = sandbox.run("true").await;
        assert_eq!((status, code(&body)), (StatusCode::BAD_GATEWAY, "agent_unavailable"), "{body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("version 0.0.0-test, speaks protocol 0") && body["error"]["retryable"] == false, "{body}");
        let shown = sandbox.show().await;
        assert_eq!((&shown["state"], &shown["last_failure"]["type"]), (&json!("failed"), &json!("start_failed")), "{shown}");
        check_recovery(engine, sandbox, &fault).await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_of_a_newer_protocol_is_used() {
    with_engine("newer", async |engine, sandbox, mark| {
        let answer = json!({ "new_field": [1], "stdout": "from the future\n" });
        let newer = json!({ "run": ["python3", "-c", OTHER_AGENT, "1000", answer.to_string()] });
        let fault = engine.inject(mark, newer, None).await;
        assert_eq!(sandbox.run("true").await, (StatusCode::OK, answer));
        assert_eq!(sandbox.show().await["state"], "running");
        assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
        check_recovery(engine, sandbox, &fault).await;
    })
    .await;
}

const NO_INSTANCE: &str = "there is no container instance that can be provided to this durable object";

#[tokio::test]
async fn a_start_that_the_platform_puts_off_succeeds_within_its_time() {
    with_engine("put-off", async |engine, sandbox, mark| {
        let fault = engine.inject(mark, json!({ "lack": NO_INSTANCE }), Some(3)).await;
        assert_eq!(sandbox.print("echo up").await, "up\n", "the same request waits for it");
        assert_eq!(fault.hits().await.len(), 3);
        let shown = check_recovery(engine, sandbox, &fault).await;
        assert_eq!((&shown["starts"], &shown["last_failure"]), (&json!(1), &Value::Null), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn a_start_that_the_platform_refuses_is_answered_with_its_reason() {
    let refusals = [
        ("full", NO_INSTANCE, StatusCode::SERVICE_UNAVAILABLE, "no_capacity"),
        ("rate", "you are requesting too many containers per second", StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
    ];
    futures_util::future::join_all(refusals.map(async |(case, words, refused, reason)| {
        with_engine(case, async |engine, sandbox, mark| {
            let fault = engine.inject(mark, json!({ "lack": words }), None).await;
            let call = sandbox.request(Method::POST, "/exec").json(&json!({ "command": "echo up" }));
            let response = call.send().await.unwrap();
            assert_eq!((response.status(), &response.headers()["retry-after"]), (refused, &"5".parse().unwrap()));
            let body: Value = response.json().await.unwrap();
            assert_eq!((&body["error"]["retryable"], &body["error"]["details"]["reason"]), (&json!(true), &json!(reason)));
            let shown = check_recovery(engine, sandbox, &fault).await;
            assert_eq!((&shown["starts"], &shown["last_failure"]), (&json!(1), &Value::Null), "{shown}");
        })
        .await;
    }))
    .await;
}

#[tokio::test]
async fn a_late_start_is_waited_for() {
    with_engine("late", async |engine, sandbox, mark| {
        let fault = engine.inject(mark, json!({ "late": 4_000 }), None).await;
        assert_eq!(sandbox.print("echo up").await, "up\n");
        assert_eq!(fault.hits().await.len(), 1, "nobody starts it twice");
        check_recovery(engine, sandbox, &fault).await;
    })
    .await;
}

#[tokio::test]
async fn a_container_whose_end_is_wrongly_reported_is_kept() {
    with_engine("lie", async |engine, sandbox, mark| {
        let fault = engine.inject(mark, json!({ "lie": "Network connection lost." }), None).await;
        sandbox.recover().await;
        assert_eq!(fault.hits().await.len(), 1, "nothing is started twice");
        let shown = check_recovery(engine, sandbox, &fault).await;
        assert_eq!((&shown["starts"], &shown["last_failure"]), (&json!(1), &Value::Null), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn a_container_that_the_platform_does_not_end_keeps_nobody_waiting() {
    with_engine("undying", async |engine, sandbox, mark| {
        sandbox.print("trap '' TERM; echo up").await;
        let fault = engine.inject(mark, json!("undying"), None).await;
        let agent = host::agent_of(sandbox).await.unwrap();
        // It cannot end by itself, either.
        agent.signal("STOP");
        let (status, body) = sandbox.call(Method::POST, "/stop", None).await;
        assert_eq!((status, code(&body)), (StatusCode::SERVICE_UNAVAILABLE, "container_not_ready"), "{body}");
        assert_eq!(destroy(&sandbox.id).await, StatusCode::NO_CONTENT);
        assert_eq!(sandbox.call(Method::GET, "", None).await.0, StatusCode::NOT_FOUND);
        for container in fault.remove().await {
            until("the container is removed", async || !engine.has(&container).await).await;
        }
    })
    .await;
}
