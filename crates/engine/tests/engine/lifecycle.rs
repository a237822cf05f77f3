//! Create, start, signal, wait, remove.

use hyper::Method;
use serde_json::json;

use crate::support::{Engine, IMAGE, eventually, marker, processes_with};

/// Runs a container that ends with this code when it gets SIGTERM.
async fn run_trapping(engine: &Engine, name: &str, code: i32) {
    let marker = marker();
    let script = format!("trap 'exit {code}' TERM; sleep {marker} & wait");
    engine.run(name, &script).await;
    // The shell and its child: the trap is set by then.
    eventually("the trap is set", || processes_with(&marker).len() == 2).await;
}

#[tokio::test]
async fn a_container_is_created_started_killed_and_removed() {
    let engine = Engine::start().await;
    let body = json!({ "Image": IMAGE, "Cmd": ["sleep", "1000"], "Labels": { "a": "b" } });
    let created = engine.create(201, "box", body.clone()).await;
    assert_eq!(engine.inspect("box").await["State"]["Status"], "created");
    engine.create(409, "box", body).await;

    engine.act(409, "box", "kill?signal=TERM").await;
    engine.act(204, "box", "start").await;
    engine.act(304, "box", "start").await;
    let running = engine.inspect("box").await;
    assert_eq!(running["State"]["Status"], "running");
    assert_eq!(running["Config"]["Image"], IMAGE);
    assert_eq!(running["Config"]["Labels"]["a"], "b");
    assert_eq!(running["Id"], created["Id"]);
    let by_id = engine.inspect(created["Id"].as_str().unwrap()).await;
    assert_eq!(by_id["Name"], "/box");
    engine.expect(409, Method::DELETE, "/containers/box", "").await;

    engine.act(204, "box", "kill?signal=SIGKILL").await;
    let exited = engine.inspect("box").await;
    assert_eq!(exited["State"]["Status"], "exited");
    assert_eq!(exited["State"]["ExitCode"], 137);
    assert_eq!(engine.code("box").await, 137);
    engine.act(409, "box", "kill").await;
    engine.act(304, "box", "stop").await;

    engine.remove(204, "box").await;
    engine.remove(404, "box").await;
    engine.expect(404, Method::GET, "/containers/box/json", "").await;
    engine.act(404, "box", "start").await;
}

#[tokio::test]
async fn exit_codes_are_those_of_the_kernel() {
    let engine = Engine::start().await;
    assert_eq!(engine.code_of("zero", "true").await, 0);
    assert_eq!(engine.code_of("three", "exit 3").await, 3);
    // A shell that dies of a signal cannot be PID 1, whose fatal signals the kernel drops; its child can.
    assert_eq!(engine.code_of("child", "sh -c 'kill -TERM $$'; exit $?").await, 143);
    run_trapping(&engine, "trap", 5).await;
    engine.act(204, "trap", "stop?t=20").await;
    assert_eq!(engine.code("trap").await, 5);
}

#[tokio::test]
async fn a_stop_kills_what_ignores_sigterm() {
    let engine = Engine::start().await;
    engine.run("deaf", "trap '' TERM; sleep 1000").await;
    engine.act(204, "deaf", "stop?t=0").await;
    assert_eq!(engine.code("deaf").await, 137);
}

#[tokio::test]
async fn the_default_command_is_the_agent() {
    let engine = Engine::start().await;
    engine.create(201, "box", json!({ "Image": IMAGE })).await;
    engine.act(204, "box", "start").await;
    assert_eq!(engine.code("box").await, 0);
}

#[tokio::test]
async fn a_missing_command_fails_the_start() {
    let engine = Engine::start().await;
    engine.create(201, "box", json!({ "Image": IMAGE, "Cmd": ["/no/such"] })).await;
    let error = engine.act(500, "box", "start").await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("executing /no/such"), "{message}");
    assert_eq!(engine.inspect("box").await["State"]["Status"], "created");
    engine.remove(204, "box").await;
}

#[tokio::test]
async fn waits_end_with_the_next_exit_and_with_removal() {
    let engine = Engine::start().await;
    run_trapping(&engine, "box", 4).await;
    let next_exit = engine.act(200, "box", "wait?condition=next-exit");
    let removed = engine.act(200, "box", "wait?condition=removed");
    let end = async {
        engine.act(204, "box", "stop?t=20").await;
        engine.remove(204, "box").await;
    };
    let (next_exit, removed, ()) = tokio::join!(next_exit, removed, end);
    assert_eq!(next_exit["StatusCode"], 4);
    assert_eq!(removed["StatusCode"], 4);
}

#[tokio::test]
async fn a_name_is_free_again_after_removal() {
    let engine = Engine::start().await;
    for _ in 0..3 {
        engine.run("box", "sleep 1000").await;
        engine.create(409, "box", json!({ "Image": IMAGE })).await;
        engine.remove(204, "box").await;
    }
    // One that exited by itself still holds its name.
    engine.code_of("box", "exit 1").await;
    engine.create(409, "box", json!({ "Image": IMAGE })).await;
    engine.remove(204, "box").await;
    engine.run("box", "sleep 1000").await;
}

#[tokio::test]
async fn invalid_requests_are_refused() {
    let engine = Engine::start().await;
    let missing = engine.create(404, "box", json!({ "Image": "no/such:1" })).await;
    assert_eq!(missing["message"], "No such image: no/such:1");
    engine.create(400, "..", json!({ "Image": IMAGE })).await;
    engine.create(400, "box", json!({})).await;
    let joined = json!({ "Image": IMAGE, "HostConfig": { "NetworkMode": "container:none" } });
    engine.create(404, "box", joined).await;
    let exec = engine.act(501, "box", "exec").await;
    assert_eq!(exec["message"], "this engine does not support POST /containers/box/exec");
    engine.expect(404, Method::GET, "/v1.44/nope", "").await;
    engine.expect(200, Method::GET, "/v1.44/version", "").await;
}

#[tokio::test]
async fn lists_are_filtered_by_label() {
    let engine = Engine::start().await;
    for (name, session) in [("one", "1"), ("two", "2")] {
        let labels = json!({ "dev.workerd.session": session });
        engine.create(201, name, json!({ "Image": IMAGE, "Labels": labels })).await;
    }
    let list = |filter| format!("/containers/json?all=1&filters={filter}");
    let path = list("%7B%22label%22%3A%5B%22dev.workerd.session%3D2%22%5D%7D");
    let shown = engine.expect(200, Method::GET, &path, "").await;
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert_eq!(shown[0]["Names"][0], "/two");
    engine.expect(400, Method::GET, &list("%7B%22status%22%3A%5B%22x%22%5D%7D"), "").await;
    let volumes = engine.expect(200, Method::GET, "/volumes?filters=%7B%7D", "").await;
    assert_eq!(volumes["Volumes"], json!([]));
}
