//! Logs of gateway, object and agent: one JSON object a line, and one id for a request.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cabana_tests::{Sandbox, drain, in_sandbox, require, until};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{
    fresh_name,
    lifecycle::{Named, host},
};

/// Where a stack on this machine keeps its logs; `None` where it runs elsewhere.
pub(super) fn directory() -> Option<PathBuf> {
    let (url, _) = Sandbox::service();
    let port = require("engine", url.strip_prefix("http://127.0.0.1:"), "the stack runs elsewhere")?.to_owned();
    let wrangler = host::find(&format!("--port\0{port}\0"));
    let state = wrangler.iter().find_map(|process| process.words().into_iter().skip_while(|word| word != "--persist-to").nth(1));
    Path::new(&state.expect("where it keeps what it stores")).parent().map(Path::to_owned)
}

/// The objects in a log's lines that name this request.
fn lines(log: &Path, request_id: &str) -> Vec<Value> {
    let log = fs::read_to_string(log).unwrap();
    let objects =
        log.lines().filter_map(|line| serde_json::Deserializer::from_str(&line[line.find('{')?..]).into_iter().next()?.ok());
    let names = |line: &Value| line["request_id"] == request_id || line["span"]["request_id"] == request_id;
    objects.filter(names).collect()
}

/// Waits for the line of a log that names this request and has this in its message.
async fn line(log: &Path, request_id: &str, message: &str) -> Value {
    let mut found = None;
    until(&format!("a line of {request_id} with {message:?}"), async || {
        found =
            lines(log, request_id).into_iter().find(|line| line["message"].as_str().is_some_and(|text| text.contains(message)));
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test]
async fn gateway_and_agent_log_the_same_request_id() {
    let Some(directory) = directory() else { return };
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir tree; truncate -s 500M tree/large").await;
        let id = fresh_name("broken");
        let request = sandbox.request(Method::GET, "/archive?path=tree").header("x-request-id", &id);
        let mut response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-request-id"], id.as_str());
        assert!(response.chunk().await.unwrap().is_some());
        sandbox.shell("truncate -s 1000 tree/large").await;
        assert!(drain(response).await.is_err());
        let said = line(&directory.join("engine.log"), &id, "an archive was interrupted").await;
        assert_eq!(said["level"], "WARN", "{said}");
        let said = line(&directory.join("wrangler.log"), &id, "request").await;
        assert_eq!((&said["route"], &said["status"]), (&json!("/v1/sandboxes/{id}/archive"), &json!(200)), "{said}");
    })
    .await;
}

#[tokio::test]
async fn gateway_and_object_log_the_same_request_id() {
    let Some(directory) = directory() else { return };
    let log = directory.join("wrangler.log");
    let sandbox = Named::new("logs", json!({})).await;
    let agent = host::agent_of(&sandbox).await.unwrap();
    let (url, key) = Sandbox::service();
    let id = fresh_name("killed");
    let call = Client::new().post(format!("{url}/v1/sandboxes/{}/exec", sandbox.id)).bearer_auth(key);
    let call = call.header("x-request-id", &id).json(&json!({ "command": "sleep 3593.25" })).send();
    let kill = async {
        until("it runs", async || sandbox.count("sleep 3593.25").await > 0).await;
        agent.signal("KILL");
    };
    let (answer, ()) = tokio::join!(call, kill);
    drop(answer);
    let said = line(&log, &id, "the agent did not answer").await;
    assert_eq!(said["level"], "warn", "{said}");
    assert_eq!(line(&log, &id, "request").await["route"], "/v1/sandboxes/{id}/exec");
    sandbox.end().await;
}

#[tokio::test]
async fn refusals_are_logged_without_credentials() {
    let Some(directory) = directory() else { return };
    let log = directory.join("wrangler.log");
    let (url, _) = Sandbox::service();
    let mark = fresh_name("hunter2");
    let nothing = ("accept", String::new());
    for (route, (header, value)) in [
        (format!("/v1/keys?token={mark}"), nothing.clone()),
        (format!("/v1/{mark}/{mark}"), nothing.clone()),
        (format!("/v1/sandboxes/{mark}/exec"), nothing.clone()),
        (format!("/v1/sandboxes/sbx-a/files?path={mark}&token={mark}"), nothing),
        ("/v1/keys".to_owned(), ("authorization", format!("Bearer {mark}"))),
        ("/v1/keys".to_owned(), ("cookie", format!("token={mark}"))),
        ("/v1/sandboxes/sbx-a/connect".to_owned(), ("sec-websocket-protocol", format!("cabana.token.{mark}"))),
    ] {
        let id = fresh_name("refused");
        let request = Client::new().get(format!("{url}{route}")).header("x-request-id", &id).header(header, value);
        let status = request.send().await.unwrap().status();
        let said = line(&log, &id, "request").await;
        assert_eq!((&said["status"], &said["principal"]), (&json!(status.as_u16()), &Value::Null), "{route}: {said}");
        assert!(status.is_client_error() && !said.to_string().contains(&mark), "{route}: {said}");
    }
}
