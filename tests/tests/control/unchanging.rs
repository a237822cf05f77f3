//! What changes nothing changes nothing: no new `updated_at`, no event, no other answer.

use cabana_tests::Caller;
use reqwest::Method;
use serde_json::{Value, json};

async fn caller() -> Caller {
    Caller::of_tenant(&super::fresh_name("unchanging"), json!({ "operations": ["sandbox", "port", "project", "key"] })).await
}

/// Sends a request that must succeed, until the sandbox has the time for it.
async fn succeed(caller: &Caller, method: Method, route: &str, body: Option<Value>) -> Value {
    loop {
        let answer = caller.ask(method.clone(), route, body.clone()).await;
        if answer.status != 503 {
            assert!(answer.status.is_success(), "{method} {route} {body:?}: {}", String::from_utf8_lossy(&answer.bytes));
            return serde_json::from_slice(&answer.bytes).unwrap_or_default();
        }
    }
}

/// All that a sandbox says of itself and that a change would show in.
async fn state(caller: &Caller, route: &str) -> Value {
    let mut shown = succeed(caller, Method::GET, route, None).await;
    for moving in ["wakeups", "sleeps_at"] {
        shown.as_object_mut().unwrap().remove(moving);
    }
    json!([shown, succeed(caller, Method::GET, &format!("{route}/events?follow=false"), None).await])
}

#[tokio::test]
async fn requests_for_what_a_sandbox_is_already_leave_no_trace() {
    let caller = caller().await;
    let settings = json!({
        "name": super::fresh_name("same"), "env": { "A": "1" }, "labels": { "a": "b" }, "sleep_after_ms": 300_000, "keep_alive": false,
        "max_lifetime_ms": 86_400_000, "network": { "allow": ["example.com"] }, "snapshot_every_ms": 600_000,
    });
    let made = succeed(&caller, Method::POST, "/v1/sandboxes", Some(settings.clone())).await;
    let route = format!("/v1/sandboxes/{}", made["id"].as_str().unwrap());
    let before = state(&caller, &route).await;
    succeed(&caller, Method::POST, "/v1/sandboxes", Some(settings.clone())).await;
    assert_eq!(state(&caller, &route).await, before, "created again");
    for (settled, again) in [("stop", "stop"), ("start", "start")] {
        succeed(&caller, Method::POST, &format!("{route}/{settled}"), None).await;
        let before = state(&caller, &route).await;
        succeed(&caller, Method::POST, &format!("{route}/{again}"), None).await;
        assert_eq!(state(&caller, &route).await, before, "{again} again");
        let same = settings.as_object().unwrap().iter().filter(|(field, _)| *field != "name");
        let patches = same.map(|(field, value)| json!({ field: value })).chain([json!({}), json!({ "before_sleep": null })]);
        for patch in patches {
            succeed(&caller, Method::PATCH, &route, Some(patch.clone())).await;
            assert_eq!(state(&caller, &route).await, before, "{patch}");
        }
    }
    let ports = format!("{route}/ports");
    let exposed = succeed(&caller, Method::POST, &ports, Some(json!({ "port": 3000, "name": "web" }))).await;
    let before = state(&caller, &route).await;
    for same in [json!({ "port": 3000 }), json!({ "port": 3000, "name": "web", "access": "token" })] {
        assert_eq!(succeed(&caller, Method::POST, &ports, Some(same.clone())).await, exposed, "{same}");
    }
    succeed(&caller, Method::DELETE, &format!("{ports}/4000"), None).await;
    assert_eq!(state(&caller, &route).await, before, "ports");
    for _ in 0..2 {
        succeed(&caller, Method::DELETE, &route, None).await;
    }
}

#[tokio::test]
async fn requests_for_what_a_project_or_key_is_already_leave_it_as_it_is() {
    let caller = caller().await;
    let definition = json!({ "name": "same", "url": "https://git.example.com/a.git", "env": { "A": "1" } });
    let made = succeed(&caller, Method::POST, "/v1/projects", Some(definition.clone())).await;
    assert_eq!(succeed(&caller, Method::POST, "/v1/projects", Some(definition)).await, made);
    let patches =
        [json!({}), json!({ "url": "https://git.example.com/a.git" }), json!({ "env": { "A": "1" } }), json!({ "branch": null })];
    for patch in patches {
        assert_eq!(succeed(&caller, Method::PATCH, "/v1/projects/same", Some(patch.clone())).await, made, "{patch}");
    }
    let key = succeed(
        &caller,
        Method::POST,
        "/v1/keys",
        Some(json!({ "name": "a", "scopes": { "operations": ["port"], "read_only": true } })),
    )
    .await;
    let route = format!("/v1/keys/{}", key["id"].as_str().unwrap());
    let shown = succeed(&caller, Method::GET, &route, None).await;
    assert_eq!(succeed(&caller, Method::PATCH, &route, Some(json!({ "name": "a" }))).await, shown);
    succeed(&caller, Method::DELETE, &route, None).await;
    let revoked = succeed(&caller, Method::GET, &route, None).await;
    for gone in [&*route, "/v1/projects/same"] {
        succeed(&caller, Method::DELETE, gone, None).await;
        succeed(&caller, Method::DELETE, gone, None).await;
    }
    assert_eq!(succeed(&caller, Method::GET, &route, None).await, revoked, "revoked again");
}
