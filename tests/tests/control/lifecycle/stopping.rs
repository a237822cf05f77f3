use super::*;
use crate::control::code;

#[tokio::test]
async fn a_sandbox_is_started_stopped_and_restarted_by_its_owner() {
    let sandbox = Named::new("owner", json!({})).await;
    let ask = async |action: &str| {
        let (status, shown) = sandbox.call(Method::POST, action, None).await;
        assert_eq!(status, StatusCode::OK, "{action}: {shown}");
        (shown["state"].clone(), shown["starts"].as_u64().unwrap())
    };
    assert_eq!(ask("/stop").await, (json!("created"), 0), "there is nothing to stop");
    assert_eq!(ask("/start").await, (json!("running"), 1));
    assert_eq!(ask("/start").await, (json!("running"), 1), "it runs");
    sandbox.print("echo old | tee f > /tmp/f").await;
    assert_eq!(ask("/stop").await, (json!("sleeping"), 1));
    assert_eq!(ask("/stop").await, (json!("sleeping"), 1));
    assert_eq!(sandbox.show().await["state_reason"]["type"], "stopped_by_caller");
    assert_eq!(ask("/restart").await, (json!("running"), 2), "it starts what does not run");
    let left = "cat f /tmp/f 2>/dev/null || echo nothing";
    assert_eq!(sandbox.print(left).await, "old\nold\n", "a stop keeps the files");
    let incarnation = async || {
        let (_, output) = sandbox.run("echo new | tee f > /tmp/f").await;
        let (incarnation, _) = output["process"].as_str().unwrap().rsplit_once('-').unwrap();
        incarnation.to_owned()
    };
    let before = incarnation().await;
    assert_eq!(incarnation().await, before, "two commands of one container");
    assert_eq!(ask("/restart").await, (json!("running"), 3));
    assert_eq!(sandbox.print(left).await, "new\nnew\n");
    assert_ne!(incarnation().await, before);
    for (method, action) in [(Method::GET, "/start"), (Method::DELETE, "/stop"), (Method::POST, "/events")] {
        assert_eq!(code(&sandbox.call(method.clone(), action, None).await.1), "method_not_allowed", "{method} {action}");
    }
    let id = sandbox.id.clone();
    sandbox.end().await;
    for action in ["/start", "/stop", "/restart"] {
        let (status, body) = request(Method::POST, &format!("/v1/sandboxes/{id}{action}"), None).await;
        assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "not_found"), "{action}");
    }
}

#[tokio::test]
async fn concurrent_starts_stops_and_destroys_end_in_one_state() {
    let sandbox = Named::new("at-once", json!({})).await;
    let (start, stop, restart, run) = ("/start", "/stop", "/restart", "true");
    let calls = tokio::join!(
        sandbox.call(Method::POST, start, None),
        sandbox.call(Method::POST, stop, None),
        sandbox.run(run),
        sandbox.call(Method::POST, restart, None),
        sandbox.call(Method::POST, stop, None),
        sandbox.run(run),
    );
    for (status, body) in [calls.0, calls.1, calls.2, calls.3, calls.4, calls.5] {
        let known = status == StatusCode::OK || ["interrupted", "container_not_ready"].contains(&code(&body));
        assert!(known, "{status} {body}");
    }
    // A container whose connection failed between two of these calls may still be ending: then the call may be repeated.
    sandbox.recover().await;
    let ends = futures_util::future::join_all((0..8).map(async |_| destroy(&sandbox.id).await)).await;
    assert!(ends.iter().all(|status| *status == StatusCode::NO_CONTENT), "{ends:?}");
}

#[tokio::test]
async fn many_destroyed_sandboxes_leave_no_process() {
    // Of its own, so that no other case is taken for what was left.
    let mark = format!("6{}.25", std::process::id());
    let sandboxes = futures_util::future::join_all((0..12).map(async |number| {
        let sandbox = Named::new("many", json!({})).await;
        let script = format!("(sleep {mark} > /dev/null 2>&1 &) ; echo {number}");
        assert_eq!(sandbox.print(&script).await, format!("{number}\n"));
        sandbox
    }));
    let ids: Vec<_> = sandboxes.await.into_iter().map(|sandbox| sandbox.id).collect();
    futures_util::future::join_all(ids.iter().map(async |id| assert_eq!(destroy(id).await, StatusCode::NO_CONTENT))).await;
    for id in &ids {
        assert_eq!(request(Method::GET, &format!("/v1/sandboxes/{id}"), None).await.0, StatusCode::NOT_FOUND);
    }
    host::until_gone(&mark).await;
}
