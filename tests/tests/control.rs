//! Cases that need the whole stack: a sandbox's life, and the gateway in front of it.

mod access;
mod archiving;
mod audit;
mod bridge;
mod cli;
mod coming_from;
mod directory;
mod disk;
mod docs_page;
mod egress;
mod gateway;
mod https_server;
mod kinds;
mod lifecycle;
mod local_engine;
mod logs;
mod mcp;
mod metrics;
mod network;
mod network_git;
mod network_rules;
mod network_secrets;
mod notebook;
mod offline;
mod outages;
mod packages;
mod preview;
mod projects;
mod quota;
mod roots;
mod setup;
mod tour;
mod unchanging;
mod upgrading;
mod variables;

use cabana_tests::{Caller, Sandbox, Socket, Target, in_sandbox, until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A name that no other case, nor an earlier run, uses.
fn fresh_name(case: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{case}-{:x}", now.as_nanos() % (1 << 60))
}

async fn request(method: Method, route: &str, body: Option<Value>) -> (StatusCode, Value) {
    let answer = Caller::operator().ask(method, route, body).await;
    assert!(answer.headers.contains_key("x-request-id"));
    answer.parts()
}

async fn create(body: Value) -> (StatusCode, Value) {
    request(Method::POST, "/v1/sandboxes", Some(body)).await
}

async fn exec(id: &str, command: &str) -> (StatusCode, Value) {
    request(Method::POST, &format!("/v1/sandboxes/{id}/exec"), Some(json!({ "command": command }))).await
}

async fn destroy(id: &str) -> StatusCode {
    request(Method::DELETE, &format!("/v1/sandboxes/{id}"), None).await.0
}

async fn state(id: &str) -> String {
    let (status, body) = request(Method::GET, &format!("/v1/sandboxes/{id}"), None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body["state"].as_str().unwrap().to_owned()
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {body}"))
}

#[tokio::test]
async fn a_sandbox_is_created_used_and_destroyed() {
    let name = fresh_name("life");
    let (status, made) = create(json!({ "name": name, "env": { "GREETING": "hello", "HOME": null } })).await;
    assert!(!made.to_string().contains("hello"), "variables are not shown: {made}");
    let id = format!("sbx-{name}");
    assert_eq!((status, made["id"].as_str(), made["kind"].as_str()), (StatusCode::CREATED, Some(id.as_str()), Some("sbx")));
    assert_eq!(state(&id).await, "created", "looking does not wake it");
    let (status, again) = create(json!({ "name": name })).await;
    assert_eq!((status, &again["created_at"]), (StatusCode::OK, &made["created_at"]), "the same name is the same sandbox");
    let said = exec(&id, "echo $GREETING > kept; echo $GREETING ${HOME-no home}; env | grep -c ^CABANA_SANDBOX").await.1;
    assert_eq!(said["stdout"], "hello no home\n0\n");
    assert_eq!(state(&id).await, "running");
    let spelled = id.to_uppercase().replace('-', "_");
    assert_eq!(exec(&spelled, "cat kept").await.1["stdout"], "hello\n", "an id is normalised");
    assert_eq!(destroy(&id).await, StatusCode::NO_CONTENT);
    assert_eq!(destroy(&id).await, StatusCode::NO_CONTENT, "destroying is idempotent");
    for (method, route) in [(Method::GET, ""), (Method::POST, "/exec"), (Method::GET, "/files?path=kept")] {
        let (status, body) = request(method.clone(), &format!("/v1/sandboxes/{id}{route}"), None).await;
        assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "not_found"), "{method} {route}");
    }
    assert_eq!(create(json!({ "name": name })).await.0, StatusCode::CREATED);
    assert_eq!(exec(&id, "ls -A; echo $GREETING").await.1["stdout"], "\n", "nothing of the one before is there");
    destroy(&id).await;
}

#[tokio::test]
async fn sandboxes_do_not_see_each_other() {
    // Alone, the agent shares the machine's files and processes.
    assert_eq!(Target::get(), Target::Stack, "this needs the whole stack: --skip control::");
    in_sandbox(async |one| {
        in_sandbox(async |other| {
            one.put("secret", "one").await.success();
            assert_eq!(other.get("secret").await.code(), "not_found");
            let name = fresh_name("isolation");
            one.shell(&format!("echo one > /tmp/{name}; echo one > /etc/{name}")).await;
            assert_eq!(other.shell(&format!("cat /tmp/{name} /etc/{name} 2>/dev/null || echo nothing")).await, "nothing\n");
            let mark = "3597.25";
            let mut socket = one.connect().await;
            socket.send("exec", "a", json!({ "command": format!("sleep {mark} & echo up; wait") })).await;
            while socket.wait_for("event", "a").await["bytes"] != "up\n" {}
            assert_eq!((one.count_processes(mark).await > 0, other.count_processes(mark).await), (true, 0));
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn many_first_requests_share_one_start() {
    let name = fresh_name("rush");
    let id = format!("sbx-{name}");
    create(json!({ "name": name })).await;
    let rush = (0..16).map(async |number| exec(&id, &format!("echo {number} >> rush; echo {number}")).await);
    for (number, (status, body)) in futures_util::future::join_all(rush).await.into_iter().enumerate() {
        assert_eq!((status, &body["stdout"]), (StatusCode::OK, &json!(format!("{number}\n"))));
    }
    assert_eq!(exec(&id, "wc -l < rush").await.1["stdout"], "16\n", "all ran in one container");
    destroy(&id).await;
}

#[tokio::test]
async fn a_container_that_ends_is_replaced_by_the_next_operation() {
    in_sandbox(async |sandbox| {
        sandbox.shell("echo before > f").await;
        let killed = sandbox.post("exec", json!({ "command": "kill -TERM 1; sleep 30" })).await;
        let lost = killed.status == StatusCode::OK && killed.json()["exit"]["type"] != "exited";
        assert!(lost || ["interrupted", "agent_unavailable"].contains(&killed.code().as_str()), "{:?}", killed.json());
        until("an operation is carried out again", async || {
            let answer = sandbox.post("exec", json!({ "command": "echo again" })).await;
            match answer.status {
                StatusCode::OK => answer.json()["stdout"] == "again\n",
                _ => {
                    assert!(["container_not_ready", "interrupted", "agent_unavailable"].contains(&answer.code().as_str()));
                    false
                }
            }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn malformed_control_requests_are_refused() {
    for (body, expected) in [
        (json!({ "name": "" }), "invalid_request"),
        (json!({ "name": "no spaces" }), "invalid_request"),
        (json!({ "name": "a/b" }), "invalid_request"),
        (json!({ "name": "a".repeat(64) }), "invalid_request"),
        (json!({ "name": 5 }), "invalid_request"),
        (json!({ "kind": "no-such", "name": "a" }), "invalid_request"),
        (json!({ "kind": "constructor", "name": "a" }), "invalid_request"),
        (json!({ "env": { "A": 1 } }), "invalid_request"),
        (json!({ "env": { "CABANA_USER": "root" } }), "invalid_request"),
        (json!({ "env": { "CABANA_AGENT_SECRET": null } }), "invalid_request"),
        (json!([]), "invalid_request"),
        (json!({ "env": { "A": "x".repeat(100_000) } }), "payload_too_large"),
    ] {
        let shown: String = body.to_string().chars().take(100).collect();
        assert_eq!(code(&create(body).await.1), expected, "{shown}");
    }
    for (method, route, expected) in [
        (Method::GET, "/v1/sandboxes/nonsense", "invalid_request"),
        (Method::GET, "/v1/sandboxes/sbx-%2e%2e", "invalid_request"),
        (Method::POST, "/v1/sandboxes/-/exec", "invalid_request"),
        (Method::GET, "/v1/sandboxes/sbx-never-made", "not_found"),
        (Method::POST, "/v1/sandboxes/sbx-never-made/exec", "not_found"),
        (Method::PUT, "/v1/sandboxes/sbx-never-made", "method_not_allowed"),
        (Method::GET, "/v1/nowhere", "not_found"),
        (Method::GET, "/", "not_found"),
    ] {
        assert_eq!(code(&request(method.clone(), route, None).await.1), expected, "{method} {route}");
    }
}

#[tokio::test]
async fn a_socket_is_authenticated_by_header_query_or_subprotocol() {
    in_sandbox(async |sandbox| {
        let (_, key) = Sandbox::service();
        let subprotocol = format!("cabana.token.{key}");
        for (query, headers) in [
            (String::new(), vec![("authorization", format!("Bearer {key}"))]),
            (format!("?token={key}"), vec![]),
            (String::new(), vec![("sec-websocket-protocol", subprotocol.clone())]),
        ] {
            let mut socket = Socket::open(&sandbox.url(&format!("/connect{query}")), &headers).await.unwrap();
            assert_eq!(socket.next().await["type"], "ready");
            socket.send("exec", "1", json!({ "command": "env" })).await;
            let mut output = String::new();
            loop {
                let frame = socket.next().await;
                output += frame["payload"]["bytes"].as_str().unwrap_or_default();
                if frame["type"] == "result" {
                    break;
                }
            }
            assert!(output.contains("PATH=") && !output.contains(&key));
        }
        for (query, headers) in [
            ("", vec![]),
            ("?token=wrong", vec![]),
            ("", vec![("sec-websocket-protocol", "cabana.token.wrong".to_owned())]),
            ("?token=", vec![("sec-websocket-protocol", subprotocol)]),
        ] {
            let refused = Socket::open(&sandbox.url(&format!("/connect{query}")), &headers).await;
            assert_eq!(refused.unwrap_err(), Some(401), "{query} {headers:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn only_health_is_open_without_credentials() {
    let (url, _) = Sandbox::service();
    assert_eq!(reqwest::get(format!("{url}/health")).await.unwrap().status(), StatusCode::OK);
    for route in ["/", "/v1/sandboxes", "/v1/sandboxes/sbx-a", "/v1/nowhere", "/healthy"] {
        assert_eq!(reqwest::get(format!("{url}{route}")).await.unwrap().status(), StatusCode::UNAUTHORIZED, "{route}");
    }
}
