//! Files that outlive their container: over sleep, stop and restart, as snapshots, and in forks.

mod heavy;
mod listing;
mod refusals;
mod restarting;

use super::*;
use crate::control::{
    code,
    local_engine::{LocalEngine, StartMark},
};

/// Makes files of many kinds.
const MAKE: &str = r#"
    set -e
    echo one > plain; chmod 640 plain; touch -d @1000000000 plain; ln plain second; ln -s plain link
    printf x > "$(printf 'new\nline \377 name')"
    truncate -s 100M sparse; echo end >> sparse
    mkdir -p deep/a/b; echo inner > deep/a/b/file; chmod 2750 deep/a
    echo tmp > /tmp/kept
    git init -q repo; cd repo; git config user.email a@b; git config user.name n
    echo text > file; git add file; git commit -qm first; echo changed > file; echo new > untracked"#;

/// Fails unless they are as they were made.
const CHECK: &str = r#"
    set -e
    [ "$(cat plain link)" = "$(printf 'one\none')" ]; [ "$(stat -c '%a %Y' plain)" = '640 1000000000' ]
    [ "$(stat -c %i plain)" = "$(stat -c %i second)" ]; [ "$(readlink link)" = plain ]
    [ "$(cat "$(printf 'new\nline \377 name')")" = x ]
    [ "$(stat -c %s sparse)" = 104857604 ]; [ "$(stat -c %b sparse)" -lt 1000 ]
    [ "$(cat deep/a/b/file)" = inner ]; [ "$(stat -c %a deep/a)" = 2750 ]
    [ "$(cat /tmp/kept)" = tmp ]
    cd repo; [ "$(git log --format=%s)" = first ]
    [ "$(git status --porcelain)" = "$(printf ' M file\n?? untracked')" ]; git fsck --strict"#;

impl Named {
    async fn snapshots(&self) -> Vec<Value> {
        let (status, list) = self.call(Method::GET, "/snapshots", None).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        list["items"].as_array().unwrap().clone()
    }

    async fn snapshot(&self, name: &str) -> Value {
        let (status, snapshot) = self.call(Method::POST, "/snapshots", Some(json!({ "name": name }))).await;
        assert_eq!(status, StatusCode::CREATED, "{snapshot}");
        snapshot
    }
}

#[tokio::test]
async fn files_survive_sleep_stop_and_restart() {
    let sandbox = Named::new("keeps", json!({ "sleep_after_ms": 1_500 })).await;
    sandbox.print(MAKE).await;
    assert_eq!(sandbox.show().await["saved_at"], Value::Null);
    let asleep = sandbox.until("sleeping").await;
    assert!(asleep["saved_at"].is_string() && asleep["lost_since"].is_null(), "{asleep}");
    sandbox.print(CHECK).await;
    for action in ["/stop", "/restart"] {
        assert_eq!(sandbox.call(Method::POST, action, None).await.0, StatusCode::OK);
        sandbox.print(CHECK).await;
    }
    let shown = sandbox.show().await;
    assert_eq!((&shown["starts"], &shown["lost_since"], &shown["snapshot_failure"]), (&json!(4), &Value::Null, &Value::Null));
    sandbox.end().await;
}

#[tokio::test]
async fn processes_and_secrets_do_not_survive_and_before_sleep_runs() {
    let fields = json!({ "before_sleep": "echo $SECRET > /workspace/prepared; sleep 1000 & true", "env": { "SECRET": "first" } });
    let sandbox = Named::new("quiesced", fields).await;
    let script = "trap 'echo ended > /workspace/trapped; exit' TERM; echo up; while :; do sleep 0.05; done";
    let (_, started) = sandbox.call(Method::POST, "/exec", Some(json!({ "command": script, "detach": true }))).await;
    let until = json!({ "process": started["process"], "until": { "log": "up" } });
    assert_eq!(sandbox.call(Method::POST, "/process/wait", Some(until)).await.0, StatusCode::OK);
    assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
    sandbox.change(json!({ "env": { "SECRET": "second" } })).await;
    assert_eq!(sandbox.print("cat prepared trapped; echo $SECRET").await, "first\nended\nsecond\n");
    let (status, gone) = sandbox.call(Method::POST, "/process/get", Some(json!({ "process": started["process"] }))).await;
    assert_eq!((status, code(&gone)), (StatusCode::GONE, "gone"));
    sandbox.end().await;
}

#[tokio::test]
async fn files_of_an_ephemeral_sandbox_go_with_its_container() {
    let sandbox = Named::new("ephemeral", json!({ "ephemeral": true })).await;
    sandbox.print("echo old | tee f > /tmp/f").await;
    let (status, refused) = sandbox.call(Method::POST, "/snapshots", None).await;
    assert_eq!((status, &refused["error"]["details"]["reason"]), (StatusCode::CONFLICT, &json!("ephemeral")));
    assert_eq!(sandbox.call(Method::POST, "/restart", None).await.0, StatusCode::OK);
    assert_eq!(sandbox.print("cat f /tmp/f 2>/dev/null || echo nothing").await, "nothing\n");
    sandbox.end().await;
}

#[tokio::test]
async fn a_snapshot_is_restored_and_the_present_files_are_kept() {
    let sandbox = Named::new("restores", json!({})).await;
    let (status, nothing) = sandbox.call(Method::POST, "/snapshots", None).await;
    assert_eq!((status, &nothing["error"]["details"]["reason"]), (StatusCode::CONFLICT, &json!("nothing_saved")));
    sandbox.print("echo first > f").await;
    let first = sandbox.snapshot("first").await;
    assert_eq!((&first["name"], &first["sandbox"], &first["parent"]), (&json!("first"), &json!(sandbox.id), &Value::Null));
    sandbox.print("echo second > f; echo more > g").await;
    let restore = format!("/snapshots/{}/restore", first["id"].as_str().unwrap());
    let (status, shown) = sandbox.call(Method::POST, &restore, None).await;
    assert_eq!((status, &shown["state"], &shown["snapshot"]), (StatusCode::OK, &json!("sleeping"), &first["id"]), "{shown}");
    assert_eq!(sandbox.print("cat f; ls").await, "first\nf\n");
    let listed = sandbox.snapshots().await;
    let before = listed.iter().find(|snapshot| snapshot["id"] != first["id"]).expect("the present files are kept");
    assert_eq!((listed.len(), &before["parent"]), (2, &first["id"]));
    let back = format!("/snapshots/{}/restore", before["id"].as_str().unwrap());
    assert_eq!(sandbox.call(Method::POST, &back, None).await.0, StatusCode::OK);
    assert_eq!(sandbox.print("cat f g").await, "second\nmore\n");
    let one = format!("/snapshots/{}", first["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(sandbox.call(Method::DELETE, &one, None).await.0, StatusCode::NO_CONTENT);
    }
    let (status, missing) = sandbox.call(Method::POST, &restore, None).await;
    assert_eq!((status, &missing["error"]["details"]["reason"]), (StatusCode::NOT_FOUND, &json!("no_such_snapshot")));
    assert_eq!(sandbox.print("cat f").await, "second\n", "nothing has changed");
    sandbox.end().await;
}

#[tokio::test]
async fn forks_begin_with_the_files_and_do_not_see_each_others_changes() {
    let sandbox = Named::new("parent", json!({ "env": { "SHARED": "value" }, "labels": { "tree": "a" } })).await;
    sandbox.print(MAKE).await;
    let name = fresh_name("fork");
    let wanted = json!({ "count": 3, "name": name });
    let (status, made) = sandbox.call(Method::POST, "/fork", Some(wanted.clone())).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let forks: Vec<Named> =
        made["items"].as_array().unwrap().iter().map(|fork| Named::of(fork["id"].as_str().unwrap())).collect();
    let ids: Vec<_> = forks.iter().map(|fork| fork.id.clone()).collect();
    assert_eq!(ids, [1, 2, 3].map(|number| format!("sbx-{name}-{number}")));
    for (number, fork) in forks.iter().enumerate() {
        fork.print(CHECK).await;
        assert_eq!(fork.print(&format!("echo {number} > own; echo $SHARED")).await, "value\n");
        let shown = fork.show().await;
        assert_eq!((&shown["snapshot"], &shown["labels"]["tree"]), (&made["snapshot"]["id"], &json!("a")));
    }
    sandbox.print("echo parent > own").await;
    for (number, fork) in forks.iter().enumerate() {
        assert_eq!(fork.print("cat own").await, format!("{number}\n"));
    }
    let (status, taken) = sandbox.call(Method::POST, "/fork", Some(wanted)).await;
    assert_eq!((status, &taken["error"]["details"]["reason"]), (StatusCode::CONFLICT, &json!("taken")));
    assert_eq!(forks[0].print("cat own").await, "0\n", "what was there is unharmed");
    for count in [0, 17] {
        let (_, refused) = sandbox.call(Method::POST, "/fork", Some(json!({ "count": count }))).await;
        assert_eq!(code(&refused), "invalid_request");
    }
    for fork in forks {
        fork.end().await;
    }
    sandbox.end().await;
}

#[tokio::test]
async fn a_new_sandbox_begins_with_a_snapshot_of_its_kind_only() {
    let sandbox = Named::new("origin", json!({})).await;
    sandbox.print("echo kept > f").await;
    let snapshot = sandbox.snapshot("origin").await["id"].clone();
    sandbox.print("echo changed > f").await;
    let other = Named::new("begins", json!({ "from": { "snapshot": snapshot } })).await;
    assert_eq!(other.print("cat f").await, "kept\n");
    let id = snapshot.as_str().unwrap();
    let unknown = id.replace(&id[id.len() - 4..], "zzzz");
    for (from, status, reason) in [
        (unknown, StatusCode::NOT_FOUND, "no_such_snapshot"),
        (format!("sbx-nobody.{}", "a".repeat(26)), StatusCode::NOT_FOUND, "no_such_snapshot"),
        ("odd".to_owned(), StatusCode::BAD_REQUEST, "invalid_field"),
    ] {
        let (answered, refused) = create(json!({ "name": fresh_name("none"), "from": { "snapshot": from } })).await;
        assert_eq!((answered, &refused["error"]["details"]["reason"]), (status, &json!(reason)), "{refused}");
    }
    other.end().await;
    sandbox.end().await;
}

/// Runs a case with the engine, a sandbox with a file in it, and the mark by which faults match it.
async fn with_engine(case: &str, fields: Value, run: impl AsyncFnOnce(&LocalEngine, &Named, &StartMark)) {
    let mark = StartMark::new(case);
    let mut fields = fields;
    fields["env"] = mark.variables();
    let sandbox = Named::new(case, fields).await;
    sandbox.print("echo kept > f").await;
    if let Some(engine) = LocalEngine::find(&sandbox).await {
        run(&engine, &sandbox, &mark).await;
    }
    sandbox.end().await;
}

#[tokio::test]
async fn a_sandbox_whose_snapshot_fails_stays_up_and_loses_nothing() {
    with_engine("unsaved", json!({ "sleep_after_ms": 1_500 }), async |engine, sandbox, mark| {
        let fault = engine.inject(mark, json!("refuse_commit"), None).await;
        until("a snapshot has failed", async || sandbox.show().await["snapshot_failure"].is_object()).await;
        let shown = sandbox.show().await;
        assert_eq!((&shown["state"], &shown["starts"]), (&json!("running"), &json!(1)), "{shown}");
        let (status, refused) = sandbox.call(Method::POST, "/stop", None).await;
        assert_eq!(
            (status, &refused["error"]["details"]["reason"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("snapshot_failed"))
        );
        assert_eq!(sandbox.print("cat f").await, "kept\n");
        assert!(fault.remove().await.len() >= 2);
        assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
        assert_eq!(sandbox.print("cat f").await, "kept\n");
        let shown = sandbox.show().await;
        assert_eq!((&shown["starts"], &shown["snapshot_failure"], &shown["lost_since"]), (&json!(2), &Value::Null, &Value::Null));
    })
    .await;
}

#[tokio::test]
async fn a_sandbox_that_is_needed_while_it_is_saved_does_not_sleep() {
    with_engine("needed", json!({ "sleep_after_ms": 1_500 }), async |engine, sandbox, mark| {
        let fault = engine.inject(mark, json!({ "late_commit": 11_000 }), Some(1)).await;
        sandbox.until("stopping").await;
        assert_eq!(sandbox.print("echo more > g; cat f").await, "kept\n");
        let shown = sandbox.show().await;
        assert_eq!((&shown["state"], &shown["starts"]), (&json!("running"), &json!(1)), "{shown}");
        sandbox.until("sleeping").await;
        assert_eq!(sandbox.print("cat f g").await, "kept\nmore\n");
        fault.remove().await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_snapshot_leaves_the_files_of_the_one_before_it() {
    with_engine("fallsback", json!({}), async |engine, sandbox, mark| {
        assert_eq!(sandbox.call(Method::POST, "/restart", None).await.0, StatusCode::OK);
        sandbox.print("echo later > g").await;
        let saved = sandbox.show().await["saved_at"].clone();
        assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
        let fault = engine.inject(mark, json!({ "lack": "Snapshot \"0b5c\" was not found." }), Some(1)).await;
        assert_eq!(sandbox.print("cat f; cat g 2>/dev/null || echo nothing").await, "kept\nnothing\n");
        assert_eq!(sandbox.show().await["lost_since"], saved);
        fault.remove().await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_snapshot_is_said_and_the_sandbox_starts_without_its_files() {
    with_engine("missing", json!({}), async |engine, sandbox, mark| {
        assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
        let fault = engine.inject(mark, json!({ "lack": "Snapshot \"0b5c\" was not found." }), Some(1)).await;
        assert_eq!(sandbox.print("cat f 2>/dev/null || echo nothing").await, "nothing\n");
        let shown = sandbox.show().await;
        assert_eq!((&shown["lost_since"], &shown["saved_at"]), (&shown["created_at"], &Value::Null), "{shown}");
        fault.remove().await;
    })
    .await;
}
