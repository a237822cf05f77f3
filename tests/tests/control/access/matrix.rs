//! Allowed or refused: every operation and every route of the description, asked for with every kind of credentials. The sandbox, the key
//! and the project do not exist, so that an allowed request is told so, and nothing starts.

use cabana_protocol::{Access, Code, SandboxId, Scopes, table::DESCRIPTORS};
use cabana_tests::Caller;
use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::fresh_name;

const ID: &str = "sbx-never-made";

/// A request, and what it amounts to.
struct Cell {
    method: Method,
    route: String,
    operation: String,
    read_only: bool,
    about_sandbox: bool,
    /// The status where the request is allowed; `None` where it depends on the route, and is no refusal.
    allowed: Option<u16>,
}

/// Every request that needs credentials.
fn requests() -> Vec<Cell> {
    let operations = DESCRIPTORS.iter().map(|operation| Cell {
        method: Method::POST,
        route: format!("/v1/sandboxes/{ID}/{}", operation.name.replace('.', "/")),
        operation: operation.name.to_owned(),
        read_only: operation.read_only,
        about_sandbox: true,
        allowed: Some(404),
    });
    let others = [(Method::HEAD, "/files?path=a", "file.read", true), (Method::POST, "/no/such", "no.such", false)];
    let others = others.map(|(method, route, operation, read_only)| Cell {
        method,
        route: format!("/v1/sandboxes/{ID}{route}"),
        operation: operation.to_owned(),
        read_only,
        about_sandbox: true,
        allowed: Some(404),
    });
    operations.chain(routes()).chain(others).collect()
}

/// The routes of the description that are no agent operations.
fn routes() -> impl Iterator<Item = Cell> {
    let description: Value = serde_json::from_str(include_str!("../../../../crates/protocol/openapi.json")).unwrap();
    let paths = description["paths"].as_object().unwrap().clone();
    let routes = paths.into_iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().clone();
        methods.into_iter().filter_map(move |(method, route)| cell(&path, &method, &route))
    });
    routes.collect::<Vec<_>>().into_iter()
}

/// A route of the description; `None` for a route that is open to everyone, and for an agent operation.
fn cell(path: &str, method: &str, route: &Value) -> Option<Cell> {
    let operation = route["x-operation"].as_str()?.to_owned();
    let is_open = !operation.contains('.') && operation != "connect";
    if is_open || DESCRIPTORS.iter().any(|known| method == "post" && known.name == operation) {
        return None;
    }
    // A request to a program counts as a change: only the program knows what it does. A token can do no more than its maker.
    let read_only = method == "get" && operation != "port.proxy" || operation.starts_with("token.");
    let mut route = path.to_owned();
    let snapshot = format!("{ID}.{}", "a".repeat(26));
    for (parameter, value) in [
        ("id", ID),
        ("key", "aaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("port", "3000"),
        ("path", "a"),
        ("name", "never-made"),
        ("snapshot", &snapshot),
        ("archive", &snapshot),
    ] {
        route = route.replace(&format!("{{{parameter}}}"), value);
    }
    if ["file.read", "file.write"].contains(&operation.as_str()) {
        route += "?path=a";
    }
    let method = method.to_uppercase().parse().unwrap();
    Some(Cell { method, route, operation, read_only, about_sandbox: path.contains("{id}"), allowed: None })
}

async fn check(caller: &Caller, cell: &Cell, refused: Option<Code>, what: &str) {
    // No request that makes or changes something has this field. The scopes of a create are known only once its body is.
    let body = if cell.operation == "sandbox.create" { json!({}) } else { json!({ "no_such_field": "n" }) };
    let body = (cell.method == Method::POST || cell.method == Method::PATCH).then_some(body);
    let answer = caller.ask(cell.method.clone(), &cell.route, body).await;
    let Cell { method, route, .. } = cell;
    let (status, shown) = (answer.status.as_u16(), String::from_utf8_lossy(&answer.bytes).into_owned());
    match refused.map(Code::status).or(cell.allowed) {
        Some(expected) => assert_eq!(status, expected, "{what}: {method} {route}: {shown}"),
        None => assert!(status < 500 && ![401, 403].contains(&status), "{what}: {method} {route}: {status} {shown}"),
    }
}

#[tokio::test]
async fn every_route_obeys_the_scopes_of_a_key() {
    let id: SandboxId = ID.parse().unwrap();
    let unnamed: SandboxId = "sbx-f4b54tbk46buf76hpxjhe3g6iu".parse().unwrap();
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
            let refused = match cell.operation.as_str() {
                // Nobody names the sandbox that is made: it gets a random id, which no pattern of these matches.
                "sandbox.create" => scopes.check(&Access { sandbox: Some(&unnamed), ..access }),
                // Which sandboxes are listed is asked later.
                "sandbox.list" => scopes.check_operation(&access),
                _ => scopes.check(&access),
            };
            let refused = refused.is_err().then_some(Code::Forbidden);
            check(&caller, &cell, refused, &what).await;
        };
        stream::iter(requests()).map(ask).buffer_unordered(8).for_each(async |()| {}).await;
    }
}

#[tokio::test]
async fn every_route_refuses_bad_credentials_and_admits_the_operator() {
    let callers = [
        (Caller::nobody(), Some(Code::Unauthorized), "nobody"),
        (Caller::with("wrong"), Some(Code::Unauthorized), "a wrong key"),
        (Caller::with("a.b.c"), Some(Code::Unauthorized), "no JWT"),
        (Caller::operator(), None, "the operator"),
    ];
    for (caller, refused, what) in &callers {
        let ask = async |cell: Cell| check(caller, &cell, *refused, what).await;
        stream::iter(requests()).map(ask).buffer_unordered(8).for_each(async |()| {}).await;
    }
}

#[tokio::test]
async fn creation_needs_a_scope_that_names_the_sandbox() {
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
