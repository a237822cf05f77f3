//! Snapshots that are not there, or cannot be used: each is refused by a code, and nothing changes.

use super::*;

/// A tenant that may have two snapshots and any number of sandboxes.
struct Tenant {
    caller: Caller,
    sandbox: String,
}

impl Tenant {
    async fn new() -> Self {
        let caller = Caller::of_tenant("test-snapshots", json!({})).await;
        let made = caller.post("/v1/sandboxes", json!({ "name": fresh_name("quota") })).await;
        assert_eq!(made.status, StatusCode::CREATED);
        let sandbox = made.json()["id"].as_str().unwrap().to_owned();
        Self { caller, sandbox }
    }

    async fn post(&self, rest: &str, body: Value) -> Answer {
        self.caller.post(&format!("/v1/sandboxes/{}{rest}", self.sandbox), body).await
    }

    async fn snapshots(&self) -> Vec<Value> {
        let list = self.caller.get(&format!("/v1/sandboxes/{}/snapshots", self.sandbox)).await.json();
        list["items"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn unknown_foreign_and_unfitting_snapshots_change_nothing() {
    let sandbox = Named::new("refuses", json!({})).await;
    sandbox.print("echo kept > f").await;
    let own = sandbox.snapshot("own").await;
    let other = Named::new("others", json!({})).await;
    other.print("echo other > f").await;
    let others = other.snapshot("others").await["id"].as_str().unwrap().to_owned();
    let id = own["id"].as_str().unwrap().to_owned();
    let unknown = format!("{}zzzz", &id[..id.len() - 4]);
    let before = (sandbox.snapshots().await, sandbox.show().await["starts"].clone());
    for (route, status, reason) in [
        (format!("/snapshots/{unknown}/restore"), StatusCode::NOT_FOUND, "no_such_snapshot"),
        // Of this tenant's other sandbox, and of none.
        (format!("/snapshots/{others}/restore"), StatusCode::NOT_FOUND, "no_such_snapshot"),
        ("/snapshots/odd/restore".to_owned(), StatusCode::BAD_REQUEST, "invalid_id"),
    ] {
        let (answered, refused) = sandbox.call(Method::POST, &route, None).await;
        assert_eq!((answered, &refused["error"]["details"]["reason"]), (status, &json!(reason)), "{route}: {refused}");
    }
    let foreign = Caller::of_tenant("test-foreigner", json!({})).await;
    let asked = json!({ "name": fresh_name("foreign"), "from": { "snapshot": id } });
    let refused = foreign.post("/v1/sandboxes", asked).await;
    assert_eq!(
        (refused.code(), refused.json()["error"]["details"]["reason"].clone()),
        ("not_found".to_owned(), json!("no_such_snapshot"))
    );
    // The kinds of the tests are there where the stack runs for them.
    let (status, refused) = create(json!({ "name": fresh_name("kind"), "kind": "tight", "from": { "snapshot": id } })).await;
    assert_eq!((status, &refused["error"]["details"]["reason"]), (StatusCode::BAD_REQUEST, &json!("other_kind")), "{refused}");
    assert_eq!((sandbox.snapshots().await, sandbox.show().await["starts"].clone()), before);
    assert_eq!(sandbox.print("cat f").await, "kept\n");
    other.end().await;
    sandbox.end().await;
}

#[tokio::test]
async fn a_fork_that_fails_leaves_nothing_behind() {
    let sandbox = Named::new("forkfails", json!({})).await;
    sandbox.print("echo kept > f").await;
    let name = fresh_name("taken");
    let taken = Named::new("holder", json!({})).await;
    let (_, made) = create(json!({ "name": format!("{name}-2") })).await;
    let second = Named::of(made["id"].as_str().unwrap());
    let (status, refused) = sandbox.call(Method::POST, "/fork", Some(json!({ "count": 3, "name": name }))).await;
    assert_eq!((status, &refused["error"]["details"]["reason"]), (StatusCode::CONFLICT, &json!("taken")), "{refused}");
    assert_eq!(sandbox.snapshots().await, Vec::<Value>::new());
    for number in [1, 3] {
        let (status, _) = Named::of(&format!("sbx-{name}-{number}")).call(Method::GET, "", None).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    assert_eq!(second.show().await["state"], "created");
    second.end().await;
    taken.end().await;
    sandbox.end().await;
}

#[tokio::test]
async fn snapshots_and_forks_beyond_the_quota_are_refused() {
    let tenant = Tenant::new().await;
    assert_eq!(tenant.post("/exec", json!({ "command": "echo kept > f" })).await.status, StatusCode::OK);
    for _ in 0..2 {
        assert_eq!(tenant.post("/snapshots", json!({})).await.status, StatusCode::CREATED);
    }
    let listed = tenant.snapshots().await;
    for (route, body) in [("/snapshots", json!({})), ("/fork", json!({ "name": fresh_name("beyond") }))] {
        let refused = tenant.post(route, body).await;
        assert_eq!(refused.code(), "too_many_requests", "{}", refused.json());
        assert_eq!(refused.json()["error"]["details"]["quota"], "snapshot");
    }
    assert_eq!(tenant.snapshots().await, listed);
    let one = format!("/v1/sandboxes/{}/snapshots/{}", tenant.sandbox, listed[0]["id"].as_str().unwrap());
    assert_eq!(tenant.caller.delete(&one).await.status, StatusCode::NO_CONTENT);
    until("its place is free", async || tenant.post("/snapshots", json!({})).await.status == StatusCode::CREATED).await;
    let destroyed = tenant.caller.delete(&format!("/v1/sandboxes/{}", tenant.sandbox)).await;
    assert_eq!(destroyed.status, StatusCode::NO_CONTENT);
    let next = Tenant::new().await;
    assert_eq!(next.post("/exec", json!({ "command": "true" })).await.status, StatusCode::OK);
    until("the places are free", async || next.post("/snapshots", json!({})).await.status == StatusCode::CREATED).await;
    next.caller.delete(&format!("/v1/sandboxes/{}", next.sandbox)).await;
}
