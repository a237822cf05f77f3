//! Allowed or refused: every route and every operation there is, for every kind of caller. Pure: what it takes to let a request
//! through, and nothing behind it.

use std::collections::BTreeSet;

use cabana::{Access, Code, Principal, SandboxId, Scopes, route::Route as LibraryRoute};
use cabana_protocol::{Error, openapi::routes, table::DESCRIPTORS};
use serde_json::{Value, json};

use crate::route::Route;

const ID: &str = "sbx-a-1";
const KEY: &str = "abcdefghijklmnopqrstuvwx27";

/// A request, and what it is known to amount to.
struct Request {
    method: String,
    path: String,
    operation: String,
    read_only: bool,
    about_sandbox: bool,
}

/// All that are not open, from the lists of routes and operations.
fn requests() -> Vec<Request> {
    let operations = DESCRIPTORS.iter().map(|operation| Request {
        method: "POST".to_owned(),
        path: format!("/v1/sandboxes/{ID}/{}", operation.name.replace('.', "/")),
        operation: operation.name.to_owned(),
        read_only: operation.read_only,
        about_sandbox: true,
    });
    let routes = routes::table().into_iter().filter(|route| route.operation.contains('.') || route.operation == "connect");
    let routes = routes.map(|route| {
        let operation = route.operation.to_owned();
        // What a program answers, it alone knows; a socket is opened to look, and its frames are judged one by one.
        let look = route.method == "get" && operation != "port.proxy";
        Request {
            method: route.method.to_uppercase(),
            path: fill(route.path),
            read_only: look || operation.starts_with("token."),
            about_sandbox: route.path.contains("{id}"),
            operation,
        }
    });
    operations.chain(routes).collect()
}

/// The id of a snapshot or an archive.
fn listed() -> String {
    format!("{ID}.{}", "a".repeat(26))
}

/// A path with its parameters filled in.
fn fill(path: &str) -> String {
    let path = path.replace("{id}", ID).replace("{key}", KEY).replace("{port}", "3000");
    path.replace("{path}", "a").replace("{name}", "web").replace("{snapshot}", &listed()).replace("{archive}", &listed())
}

/// What the gateway and the library ask before they let a request through.
fn gate(principal: &Principal, method: &str, path: &str) -> Result<(), Error> {
    match Route::parse(method, path)? {
        Route::Library => {}
        route => return route.access().map_or(Ok(()), |access| principal.check(&access)),
    }
    let route = LibraryRoute::parse(method, path)?;
    route.access(method, |access| match route {
        LibraryRoute::Create | LibraryRoute::List => principal.check_operation(access),
        _ => principal.check(access),
    })
}

/// A kind of caller: its scopes, whether it is the operator, whether it was handed its credentials, and what is expected of it.
type Kind = (&'static str, Value, bool, bool, fn(&Request) -> bool);

fn family(request: &Request) -> &str {
    request.operation.split('.').next().unwrap_or_default()
}

/// Which sandbox is listed or made is asked later.
fn is_listing(request: &Request) -> bool {
    ["sandbox.create", "sandbox.list"].contains(&request.operation.as_str())
}

/// Opening a socket takes a credential for the sandbox, whatever it is good for.
fn is_socket(request: &Request) -> bool {
    request.operation == "connect"
}

fn kinds() -> Vec<Kind> {
    vec![
        ("the operator", json!({}), true, false, |_| true),
        ("a key without scopes", json!({}), false, false, |request| family(request) != "key"),
        ("a key that reads", json!({ "read_only": true }), false, false, |request| request.read_only && family(request) != "key"),
        ("a key for nothing", json!({ "operations": [] }), false, false, |_| false),
        ("a key for files", json!({ "operations": ["file"] }), false, false, |request| {
            family(request) == "file" || is_socket(request)
        }),
        ("a key for one operation", json!({ "operations": ["file.read"] }), false, false, |request| {
            request.operation == "file.read" || is_socket(request)
        }),
        ("a key for keys", json!({ "operations": ["key"] }), false, false, |request| {
            family(request) == "key" || is_socket(request)
        }),
        ("a key that looks at keys", json!({ "operations": ["key"], "read_only": true }), false, false, |request| {
            family(request) == "key" && request.read_only || is_socket(request)
        }),
        ("a key for this sandbox", json!({ "sandboxes": ["sbx-a-*"] }), false, false, |request| {
            request.about_sandbox || is_listing(request)
        }),
        ("a key for another sandbox", json!({ "sandboxes": ["sbx-b-*"] }), false, false, |request| is_listing(request)),
        ("a key for no sandbox", json!({ "sandboxes": [] }), false, false, |request| is_listing(request)),
        ("a connect token", json!({ "sandboxes": [ID] }), false, true, |request| {
            !["key", "token"].contains(&family(request)) && (request.about_sandbox || is_listing(request))
        }),
    ]
}

fn principal(scopes: &Value, operator: bool, delegated: bool) -> Principal {
    let scopes: Scopes = serde_json::from_value(scopes.clone()).unwrap();
    Principal { scopes, operator, delegated, tenant: "a".parse().unwrap(), ..Principal::operator() }
}

#[test]
fn every_request_of_every_kind_of_caller() {
    let requests = requests();
    assert!(requests.len() > DESCRIPTORS.len() + 10);
    for (kind, scopes, operator, delegated, expected) in kinds() {
        let principal = principal(&scopes, operator, delegated);
        for request in &requests {
            let Request { method, path, .. } = request;
            let outcome = gate(&principal, method, path).map_err(|error| error.code);
            assert_eq!(outcome, if expected(request) { Ok(()) } else { Err(Code::Forbidden) }, "{kind}: {method} {path}");
        }
    }
}

#[test]
fn every_route_is_what_the_description_says() {
    let id: SandboxId = ID.parse().unwrap();
    for request in requests() {
        let Request { method, path, operation, read_only, about_sandbox } = &request;
        let expected = Access { sandbox: about_sandbox.then_some(&id), operation, read_only: *read_only };
        let route = Route::parse(method, path).unwrap();
        match route.access() {
            Some(access) => assert_eq!(access, expected, "{method} {path}"),
            None => {
                let route = LibraryRoute::parse(method, path).unwrap();
                route.access(method, |access| assert_eq!(*access, expected, "{method} {path}"));
            }
        }
    }
}

#[test]
fn parameters_are_those_of_the_description() {
    let described = routes::table().into_iter().filter(|route| route.operation.contains('.') && route.path.contains("/v1/"));
    for route in described {
        let (method, path) = (route.method.to_uppercase(), fill(route.path));
        let known = match Route::parse(&method, &path).unwrap() {
            Route::Library => LibraryRoute::parse(&method, &path).unwrap().parameters(),
            own => own.parameters(),
        };
        let Some(known) = known else { continue };
        let sorted = |names: Vec<&'static str>| names.into_iter().collect::<BTreeSet<_>>();
        let described = route.query.iter().map(|(name, ..)| *name).collect();
        assert_eq!(sorted(known.to_vec()), sorted(described), "{method} {path}");
    }
}

#[test]
fn families_that_need_a_name_are_those_of_credentials() {
    let families: BTreeSet<_> = requests().iter().map(|request| family(request).to_owned()).collect();
    assert!(families.contains("key") && families.contains("token") && families.contains("exec") && families.len() > 8);
}
