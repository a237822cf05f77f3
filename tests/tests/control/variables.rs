//! Variables of a sandbox: who sets them, who shows them, and that a change holds at once.

use cabana_tests::Kind;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{create, fresh_name, lifecycle::Named, request};

/// The variables of these names, with their origins and values, as `GET …/env` shows them; null for one that is absent.
async fn shown(sandbox: &Named, names: &[&str]) -> (bool, Value) {
    let (status, env) = sandbox.call(Method::GET, "/env", None).await;
    assert_eq!(status, StatusCode::OK, "{env}");
    let items = env["items"].as_array().unwrap();
    let find = |name: &&str| items.iter().find(|item| item["name"] == **name).map(|item| json!([item["origin"], item["value"]]));
    (env["has_image"].as_bool().unwrap(), names.iter().map(find).collect())
}

#[tokio::test]
async fn changed_variables_hold_for_new_commands_and_sessions_at_once() {
    let sandbox = Named::new("env", json!({ "env": { "A": "1", "B": "1", "HOME": "/tmp" } })).await;
    assert_eq!(sandbox.print("echo $A $B $HOME").await, "1 1 /tmp\n");
    let session = json!({ "name": "before" });
    assert!(sandbox.call(Method::POST, "/session/create", Some(session)).await.0.is_success());
    let waits = json!({ "command": "until [ -e go ]; do sleep 0.02; done; echo $A $B", "detach": true, "name": "running" });
    assert!(sandbox.call(Method::POST, "/exec", Some(waits)).await.0.is_success());
    for (change, expected) in [
        (json!({ "env": { "A": "2", "C": "2" } }), "2 1 2 /tmp\n"),
        (json!({ "env": { "A": "2" } }), "2 1 2 /tmp\n"),
        (json!({ "env": { "B": null, "HOME": null } }), "2 unset 2 unset\n"),
        (json!({ "labels": { "a": "b" } }), "2 unset 2 unset\n"),
    ] {
        sandbox.change(change.clone()).await;
        let script = "echo $A ${B-unset} $C ${HOME-unset}";
        assert_eq!(sandbox.print(script).await, expected, "{change}");
        let session = json!({ "command": script, "session": fresh_name("s") });
        sandbox.call(Method::POST, "/session/create", Some(json!({ "name": session["session"] }))).await;
        assert_eq!(sandbox.call(Method::POST, "/exec", Some(session)).await.1["stdout"], expected, "{change}");
    }
    let before = json!({ "command": "echo $A $B; touch go", "session": "before" });
    assert_eq!(sandbox.call(Method::POST, "/exec", Some(before)).await.1["stdout"], "1 1\n", "a session keeps what it has");
    let ended = json!({ "process": "running", "until": "exit" });
    sandbox.call(Method::POST, "/process/wait", Some(ended)).await;
    let log = sandbox.call(Method::POST, "/process/logs", Some(json!({ "process": "running" }))).await.1;
    assert!(log.to_string().contains(r"1 1\n"), "so does a process: {log}");

    assert_eq!(sandbox.call(Method::POST, "/restart", None).await.0, StatusCode::OK);
    assert_eq!(sandbox.print("echo $A ${B-unset} $C").await, "2 unset 2\n", "they hold after a restart too");
    sandbox.change(json!({ "env": null })).await;
    assert_eq!(sandbox.print("echo ${A-unset} ${B-unset} ${C-unset}; test -n \"$HOME\"").await, "unset unset unset\n");
    sandbox.end().await;
}

#[tokio::test]
async fn variables_are_shown_with_their_origin_and_without_secrets() {
    let kind = Kind::Tight;
    if !kind.is_served().await {
        return;
    }
    let project = fresh_name("env");
    let definition = json!({ "name": project, "url": "http://127.0.0.1:1/a.git", "env": { "OF_THE_PROJECT": "hunter2" } });
    assert_eq!(request(Method::POST, "/v1/projects", Some(definition)).await.0, StatusCode::CREATED);
    let names = ["KIND", "OF_THE_KIND", "OF_THE_PROJECT", "OF_THE_SANDBOX", "PATH"];
    let fields = json!({
        "name": fresh_name("env"),
        "kind": kind.name(),
        "project": project,
        "env": { "OF_THE_SANDBOX": "hunter2", "KIND": null },
    });
    // Its repository does not exist, which does not matter to its variables.
    let (_, failed) = create(fields.clone()).await;
    let sandbox = Named::of(&format!("{}-{}", kind.name(), fields["name"].as_str().unwrap()));
    assert_eq!(failed["error"]["code"], "unprocessable", "{failed}");
    let of_all = json!([null, ["kind", "kind"], ["project", null], ["sandbox", null]]);
    let (has_image, all) = shown(&sandbox, &names).await;
    assert_eq!((has_image, &all.as_array().unwrap()[..4]), (true, &of_all.as_array().unwrap()[..]));
    assert_eq!(all[4][0], "image", "{all}");
    assert_eq!(
        sandbox.print("echo ${KIND-unset} $OF_THE_KIND $OF_THE_PROJECT $OF_THE_SANDBOX").await,
        "unset kind hunter2 hunter2\n"
    );
    let (_, text) = sandbox.call(Method::GET, "/env", None).await;
    assert!(!text.to_string().contains("hunter2"), "{text}");

    assert_eq!(sandbox.call(Method::POST, "/stop", None).await.0, StatusCode::OK);
    let (has_image, all) = shown(&sandbox, &names).await;
    assert_eq!((has_image, &all[1], &all[4]), (false, &of_all[1], &Value::Null));
    assert_eq!(sandbox.show().await["state"], "sleeping", "looking wakes nothing");
    sandbox.end().await;
    request(Method::DELETE, &format!("/v1/projects/{project}"), None).await;
}

#[tokio::test]
async fn impossible_variables_are_refused_and_change_nothing() {
    let sandbox = Named::new("env", json!({ "env": { "A": "1" } })).await;
    sandbox.change(json!({ "env": { "LARGE": "x".repeat(60_000) } })).await;
    let before = sandbox.show().await["updated_at"].clone();
    for (change, reason) in [
        (json!({ "CABANA_USER": "root" }), "invalid_field"),
        (json!({ "A=B": "x" }), "invalid_field"),
        (json!({ "B": "x\0" }), "invalid_field"),
        (json!({ "B": 7 }), "invalid_field"),
        (json!({ "C": "y".repeat(6_000) }), "limit"),
    ] {
        let (status, refused) = sandbox.call(Method::PATCH, "", Some(json!({ "env": change }))).await;
        assert_eq!((status, &refused["error"]["details"]["reason"]), (StatusCode::BAD_REQUEST, &json!(reason)), "{refused}");
    }
    sandbox.change(json!({ "env": { "A": "1" } })).await;
    assert_eq!(sandbox.show().await["updated_at"], before, "what changes nothing changes nothing");
    let (status, refused) = sandbox.call(Method::PUT, "/env", Some(json!({ "version": 9, "env": {} }))).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{refused}");
    sandbox.end().await;
}
