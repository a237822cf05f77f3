//! Allowed or refused: every operation and control route, asked for with every kind of credentials. The sandbox is one that was never
//! made, so that whoever may ask is told so, and nothing is started.

use cabana_protocol::{Access, Code, SandboxId, Scopes, table::DESCRIPTORS};
use cabana_tests::Caller;
use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::json;

use super::super::fresh_name;

const ID: &str = "sbx-never-made";

/// A request, and what it amounts to.
struct Cell {
    method: Method,
    route: String,
    operation: String,
    read_only: bool,
    about_sandbox: bool,
}

fn requests() -> Vec<Cell> {
    let operations = DESCRIPTORS.iter().map(|operation| {
        let route = format!("/v1/sandboxes/{ID}/{}", operation.name.replace('.', "/"));
        (Method::POST, route, operation.name, operation.read_only, true)
    });
    let sandbox = |rest: &str| format!("/v1/sandboxes/{ID}{rest}");
    let key = || "/v1/keys/aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned();
    let others = [
        (Method::GET, sandbox(""), "sandbox.get", true, true),
        (Method::GET, sandbox("/files?path=a"), "file.read", true, true),
        (Method::HEAD, sandbox("/files?path=a"), "file.read", true, true),
        (Method::PUT, sandbox("/files?path=a"), "file.write", false, true),
        (Method::DELETE, sandbox("/files?path=a"), "file.write", false, true),
        (Method::GET, sandbox("/archive?path=a"), "file.read", true, true),
        (Method::PUT, sandbox("/archive?path=a"), "file.write", false, true),
        (Method::GET, sandbox("/connect"), "connect", true, true),
        (Method::POST, sandbox("/tokens"), "token.create", true, true),
        (Method::POST, sandbox("/no/such"), "no.such", false, true),
        (Method::GET, key(), "key.get", true, false),
        (Method::PATCH, key(), "key.update", false, false),
        (Method::DELETE, key(), "key.delete", false, false),
    ];
    operations
        .chain(others)
        .map(|(method, route, operation, read_only, about_sandbox)| {
            let operation = operation.to_owned();
            Cell { method, route, operation, read_only, about_sandbox }
        })
        .collect()
}

async fn check(caller: &Caller, cell: &Cell, expected: Code, what: &str) {
    let body = (cell.method == Method::POST || cell.method == Method::PATCH).then(|| json!({ "name": "n" }));
    let answer = caller.ask(cell.method.clone(), &cell.route, body).await;
    let Cell { method, route, .. } = cell;
    assert_eq!(answer.status.as_u16(), expected.status(), "{what}: {method} {route}: {}", String::from_utf8_lossy(&answer.bytes));
}

#[tokio::test]
async fn every_request_with_every_kind_of_key() {
    let id: SandboxId = ID.parse().unwrap();
    for scopes in [
        json!({}),
        json!({ "read_only": true }),
        json!({ "operations": [] }),
        json!({ "operations": ["file"] }),
        json!({ "operations": ["file.read", "exec", "connect"] }),
        json!({ "operations": ["process", "token", "sandbox"], "read_only": true }),
        json!({ "operations": ["key"] }),
        json!({ "sandboxes": [ID] }),
        json!({ "sandboxes": ["sbx-never-*"], "operations": ["git"] }),
        json!({ "sandboxes": ["sbx-other-*"] }),
        json!({ "sandboxes": [] }),
    ] {
        let caller = Caller::of_tenant(&fresh_name("matrix"), scopes.clone()).await;
        let scopes: Scopes = serde_json::from_value(scopes).unwrap();
        let what = serde_json::to_string(&scopes).unwrap();
        let ask = async |cell: Cell| {
            let access =
                Access { sandbox: cell.about_sandbox.then_some(&id), operation: &cell.operation, read_only: cell.read_only };
            let expected = if scopes.check(&access).is_ok() { Code::NotFound } else { Code::Forbidden };
            check(&caller, &cell, expected, &what).await;
        };
        stream::iter(requests()).map(ask).buffer_unordered(8).for_each(async |()| {}).await;
    }
}

#[tokio::test]
async fn every_request_without_credentials_and_with_the_operators() {
    let wrong: [(Caller, Code, &str); 4] = [
        (Caller::nobody(), Code::Unauthorized, "nobody"),
        (Caller::with("wrong"), Code::Unauthorized, "a wrong key"),
        (Caller::with("a.b.c"), Code::Unauthorized, "no JWT"),
        (Caller::operator(), Code::NotFound, "the operator"),
    ];
    for (caller, expected, what) in &wrong {
        let ask = async |cell: Cell| check(caller, &cell, *expected, what).await;
        stream::iter(requests()).map(ask).buffer_unordered(8).for_each(async |()| {}).await;
    }
}

#[tokio::test]
async fn creation_is_for_those_whose_scopes_name_the_sandbox() {
    let name = fresh_name("scoped");
    for (scopes, status) in [
        (json!({ "read_only": true }), 403),
        (json!({ "operations": ["file"] }), 403),
        (json!({ "sandboxes": ["sbx-other"] }), 403),
        (json!({ "sandboxes": [format!("sbx-{name}")], "operations": ["sandbox"] }), 201),
    ] {
        let caller = Caller::of_tenant(&fresh_name("scoped"), scopes.clone()).await;
        let answer = caller.post("/v1/sandboxes", json!({ "name": name })).await;
        assert_eq!(answer.status.as_u16(), status, "{scopes}: {}", answer.json());
        if status == 201 {
            assert_eq!(caller.post("/v1/sandboxes", json!({})).await.code(), "forbidden", "a name drawn at random is another");
            assert_eq!(caller.delete(&format!("/v1/sandboxes/sbx-{name}")).await.status, 204);
        }
    }
}
