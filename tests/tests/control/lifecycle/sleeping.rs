use cabana_tests::{NDJSON, SSE};
use futures_util::{StreamExt, future::join_all, stream};
use reqwest::Body;

use super::*;
use crate::control::code;

#[tokio::test]
async fn an_idle_sandbox_sleeps_and_wakes_on_use() {
    let sandbox = Named::new("sleeps", json!({ "sleep_after_ms": 1_500 })).await;
    sandbox.print("true").await;
    let up = sandbox.show().await;
    assert_eq!((&up["state"], &up["starts"]), (&json!("running"), &json!(1)));
    assert!(up["sleeps_at"].as_str() > up["since"].as_str(), "{up}");
    let down = sandbox.until("sleeping").await;
    assert_eq!((&down["state_reason"]["type"], &down["sleeps_at"]), (&json!("idle"), &Value::Null), "{down}");
    assert_eq!(sandbox.print("echo again").await, "again\n");
    let up = sandbox.show().await;
    assert_eq!((&up["state_reason"]["type"], &up["starts"], &up["last_failure"]), (&json!("woken"), &json!(2), &Value::Null));
    sandbox.end().await;
}

/// How long the sandboxes here may be idle.
const SLEEP_AFTER_MS: u64 = 2_000;

/// Waits for as long as an idle sandbox takes to fall asleep.
async fn until_an_idle_one_sleeps() {
    let idle = Named::new("reference", json!({ "sleep_after_ms": SLEEP_AFTER_MS })).await;
    idle.print("true").await;
    idle.until("sleeping").await;
    idle.end().await;
}

/// Runs a case that keeps its sandbox busy until an idle one sleeps, and checks that the busy one was up all the time.
async fn keeps_awake(case: impl AsyncFnOnce(&Named)) {
    let sandbox = Named::new("busy", json!({ "sleep_after_ms": SLEEP_AFTER_MS })).await;
    sandbox.print("true").await;
    case(&sandbox).await;
    assert_eq!(sandbox.show().await["starts"], 1, "it slept");
    sandbox.until("sleeping").await;
    sandbox.end().await;
}

/// Ends once the file `go` is there.
const WAITS: &str = "until [ -e go ]; do sleep 0.02; done; echo done";

#[tokio::test]
async fn a_command_in_any_form_keeps_the_sandbox_awake() {
    let accepts = ["application/json", NDJSON, SSE].map(async |accept| {
        keeps_awake(async |sandbox| {
            let call = sandbox.request(Method::POST, "/exec").header("accept", accept).json(&json!({ "command": WAITS }));
            let waiting = async {
                until_an_idle_one_sleeps().await;
                assert_eq!(sandbox.show().await["state"], "running", "{accept}");
                sandbox.print(": > go").await;
            };
            let (answer, ()) = tokio::join!(call.send(), waiting);
            let answer = answer.unwrap().text().await.unwrap();
            assert!(answer.contains(r#""type":"exited""#) && answer.contains("done"), "{accept}: {answer}");
        })
        .await;
    });
    join_all(accepts).await;
}

#[tokio::test]
async fn an_upload_keeps_the_sandbox_awake() {
    keeps_awake(async |sandbox| {
        let pieces = stream::iter(0..2).then(async |number| {
            if number == 1 {
                until_an_idle_one_sleeps().await;
            }
            Ok::<_, std::io::Error>("piece\n")
        });
        let upload = sandbox.request(Method::PUT, "/files?path=slow").body(Body::wrap_stream(Box::pin(pieces)));
        assert!(upload.send().await.unwrap().status().is_success());
        assert_eq!(sandbox.print("wc -l < slow").await, "2\n");
    })
    .await;
}

#[tokio::test]
async fn a_command_on_a_socket_keeps_the_sandbox_awake_and_an_idle_socket_does_not() {
    let sandbox = Named::new("socket", json!({ "sleep_after_ms": SLEEP_AFTER_MS })).await;
    let mut socket = sandbox.connect().await.unwrap();
    socket.send("exec", "1", json!({ "command": WAITS })).await;
    socket.wait_for("event", "1").await;
    until_an_idle_one_sleeps().await;
    assert_eq!(sandbox.show().await["state"], "running");
    sandbox.print(": > go").await;
    assert_eq!(socket.wait_for("result", "1").await["exit"]["code"], 0);
    assert_eq!(sandbox.show().await["starts"], 1, "it slept");
    // Neither the socket, which is still open, nor a detached process keeps it awake.
    let (_, detached) = sandbox.call(Method::POST, "/exec", Some(json!({ "command": "sleep 1000", "detach": true }))).await;
    assert!(detached["process"].is_string(), "{detached}");
    assert_eq!(sandbox.until("sleeping").await["state_reason"]["type"], "idle");
    drop(socket);
    sandbox.end().await;
}

#[tokio::test]
async fn a_preview_visit_keeps_the_sandbox_awake_to_the_last_byte() {
    keeps_awake(async |sandbox| {
        let server = json!(["python3", "-c", include_str!("slow_server.py")]);
        let (_, started) = sandbox.call(Method::POST, "/exec", Some(json!({ "command": server, "detach": true }))).await;
        let port = json!({ "process": started["process"], "until": { "port": 8123 } });
        assert_eq!(sandbox.call(Method::POST, "/process/wait", Some(port)).await.0, StatusCode::OK);
        let mut visit = sandbox.request(Method::GET, "/ports/8123/proxy/").send().await.unwrap();
        assert_eq!(visit.chunk().await.unwrap().unwrap(), "piece\n");
        until_an_idle_one_sleeps().await;
        assert_eq!(sandbox.show().await["state"], "running");
        sandbox.print(": > go").await;
        assert_eq!(visit.text().await.unwrap(), "last piece\n");
    })
    .await;
}

#[tokio::test]
async fn read_only_operations_neither_wake_a_sandbox_nor_keep_it_awake() {
    let sandbox = Named::new("looked-at", json!({ "sleep_after_ms": 1_000 })).await;
    let look = async |name: &str| {
        let (status, body) = sandbox.call(Method::POST, &format!("/{name}"), Some(json!({}))).await;
        assert_eq!(status, StatusCode::OK, "{name}: {body}");
        body
    };
    let asleep = [
        ("process/list", json!({ "items": [] })),
        ("session/list", json!({ "items": [] })),
        ("port/list", json!({ "items": [] })),
    ];
    for (name, answer) in &asleep {
        assert_eq!(look(name).await, *answer);
    }
    assert_eq!((&look("system/stats").await["processes"], &sandbox.show().await["state"]), (&json!(0), &json!("created")));
    sandbox.print("true").await;
    assert!(look("system/stats").await["processes"].as_u64() > Some(0));
    while sandbox.show().await["state"] != "sleeping" {
        look("process/list").await;
        pause(50).await;
    }
    for (name, answer) in &asleep {
        assert_eq!(look(name).await, *answer);
    }
    assert_eq!(sandbox.show().await["starts"], 1);
    sandbox.end().await;
}

#[tokio::test]
async fn keep_alive_holds_until_it_is_reset() {
    let sandbox = Named::new("alive", json!({ "sleep_after_ms": 1_000, "keep_alive": true })).await;
    sandbox.print("true").await;
    until_an_idle_one_sleeps().await;
    let shown = sandbox.show().await;
    assert_eq!((&shown["state"], &shown["sleeps_at"], &shown["keep_alive"]), (&json!("running"), &Value::Null, &json!(true)));
    sandbox.change(json!({ "keep_alive": null })).await;
    sandbox.until("sleeping").await;
    sandbox.end().await;
}

#[tokio::test]
async fn setting_the_same_values_again_changes_nothing() {
    let sandbox = Named::new("settings", json!({})).await;
    let default = sandbox.show().await["sleep_after_ms"].clone();
    sandbox.print("true").await;
    let before = sandbox.change(json!({ "sleep_after_ms": 3_000, "max_lifetime_ms": 900_000 })).await;
    pause(1_000).await;
    let after = sandbox.change(json!({ "sleep_after_ms": 3_000, "max_lifetime_ms": 900_000, "keep_alive": false })).await;
    for field in ["sleep_after_ms", "sleeps_at", "expires_at", "since", "keep_alive", "max_lifetime_ms"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    let reset = sandbox.change(json!({ "sleep_after_ms": null, "max_lifetime_ms": null })).await;
    assert_eq!((&reset["sleep_after_ms"], &reset["expires_at"]), (&default, &Value::Null));
    for bad in
        [json!({ "sleep_after_ms": 5 }), json!({ "keep_alive": 1 }), json!({ "env": { "CABANA_USER": "root" } }), json!([])]
    {
        assert_eq!(code(&sandbox.call(Method::PATCH, "", Some(bad.clone())).await.1), "invalid_request", "{bad}");
    }
    sandbox.end().await;
}

#[tokio::test]
async fn the_lifetime_ends_a_busy_sandbox() {
    let sandbox = Named::new("mortal", json!({ "max_lifetime_ms": 3_000, "keep_alive": true })).await;
    let (status, cut) = sandbox.run("sleep 600").await;
    let ended = cut["error"]["code"] == "interrupted" || (status == StatusCode::OK && cut["exit"]["type"] != "exited");
    assert!(ended, "{status} {cut}");
    let shown = sandbox.until("destroyed").await;
    assert_eq!(shown["state_reason"]["type"], "expired");
    let (status, refused) = sandbox.run("true").await;
    assert_eq!((status, code(&refused)), (StatusCode::GONE, "gone"));
    assert_eq!(refused["error"]["details"]["reason"], "expired");
    let name = sandbox.id.strip_prefix("sbx-").unwrap();
    assert_eq!(create(json!({ "name": name })).await.0, StatusCode::CREATED, "the name is free again");
    assert_eq!(sandbox.print("echo new").await, "new\n");
    sandbox.end().await;
}

#[tokio::test]
async fn an_idle_sandbox_does_not_load_its_object() {
    let sandbox = Named::new("idle", json!({ "sleep_after_ms": 600_000 })).await;
    sandbox.print("true").await;
    let loads = |shown: &Value| shown["wakeups"]["loads"].as_u64().unwrap();
    let before = loads(&sandbox.show().await);
    // A look loads the object or keeps it loaded, so it is left alone for longer than the runtime keeps an idle object.
    let mut after = Value::Null;
    for _ in 0..6 {
        pause(15_000).await;
        after = sandbox.show().await;
        if loads(&after) != before {
            break;
        }
    }
    assert_eq!((&after["state"], &after["wakeups"]["alarms"]), (&json!("running"), &json!(0)));
    assert_eq!(loads(&after), before + 1, "the object left memory, and nothing but the look has loaded it");
    assert_eq!(sandbox.print("echo still there").await, "still there\n");
    assert_eq!(sandbox.show().await["starts"], 1);
    sandbox.end().await;
}
