//! Credentials, tenants, and the answers that refusals give.

mod jwts;
mod keys;
mod matrix;
mod sockets;
mod tokens;

use cabana_tests::Caller;
use reqwest::Method;
use serde_json::json;

use super::fresh_name;

/// The parts of an answer that must not depend on the caller.
fn words(answer: &cabana_tests::Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["error"].to_string())
}

#[tokio::test]
async fn another_tenants_sandbox_is_not_found() {
    let (name, a, b) = (fresh_name("owned"), fresh_name("a"), fresh_name("b"));
    let (owner, other) = (Caller::of_tenant(&a, json!({})).await, Caller::of_tenant(&b, json!({})).await);
    let made = owner.post("/v1/sandboxes", json!({ "name": name })).await;
    assert_eq!((made.status.as_u16(), made.json()["tenant"].as_str()), (201, Some(a.as_str())));
    let (theirs, nobodys) = (format!("/v1/sandboxes/sbx-{name}"), format!("/v1/sandboxes/sbx-{}", fresh_name("never")));
    for (method, rest) in [
        (Method::GET, ""),
        (Method::POST, "/exec"),
        (Method::POST, "/file/read"),
        (Method::GET, "/files?path=a"),
        (Method::PUT, "/files?path=a"),
        (Method::GET, "/archive?path=a"),
        (Method::GET, "/connect"),
        (Method::POST, "/tokens"),
        (Method::POST, "/no/such"),
    ] {
        let ask = async |id: &str| words(&other.ask(method.clone(), &format!("{id}{rest}"), None).await);
        let (found, expected) = (ask(&theirs).await, ask(&nobodys).await);
        assert_eq!((&found, found.0), (&expected, 404), "{method} {rest}");
    }
    other.delete(&theirs).await;
    assert_eq!(owner.get(&theirs).await.status, 200, "nobody else destroys it");
    assert_eq!(other.post("/v1/sandboxes", json!({ "name": name })).await.code(), "conflict");
    assert_eq!(owner.delete(&theirs).await.status, 204);
}

#[tokio::test]
async fn creating_an_existing_name_returns_the_sandbox_unchanged() {
    let name = fresh_name("same");
    let make = async |body| Caller::operator().post("/v1/sandboxes", body).await;
    let made = make(json!({ "name": name, "env": { "A": "1" } })).await;
    let found = make(json!({ "name": name, "env": { "A": "2" } })).await;
    assert_eq!((made.status.as_u16(), found.status.as_u16()), (201, 200));
    assert_eq!(made.json()["created_at"], found.json()["created_at"]);
    Caller::operator().delete(&format!("/v1/sandboxes/sbx-{name}")).await;
}

#[tokio::test]
async fn malformed_credentials_are_refused() {
    let (url, key) = cabana_tests::Sandbox::service();
    let http = reqwest::Client::new();
    let upper = key.to_uppercase();
    for values in [
        vec![],
        vec![""],
        vec!["Bearer"],
        vec!["Bearer "],
        vec![key.as_str()],
        vec!["Basic Og=="],
        vec!["Bearer wrong"],
        vec![&format!("Bearer {upper}")],
        vec![&format!("Bearer {}", &key[1..])],
        vec![&format!("Bearer {}", &key[..key.len() - 1])],
        vec![&format!("Bearer {key}x")],
        vec![&format!("Bearer {key} x")],
        vec![&format!("Bearer {key}, Bearer {key}")],
        vec![&format!("Bearer {key}\u{e9}")],
        vec![&format!("Bearer {key}"), &format!("Bearer {key}")],
        vec![&format!("Bearer {key}"), "Bearer wrong"],
    ] {
        let request =
            values.iter().fold(http.get(format!("{url}/v1/keys")), |request, value| request.header("authorization", *value));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401, "{} values", values.len());
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
    for scheme in ["bearer", "BEARER", "Bearer "] {
        let request = http.get(format!("{url}/v1/keys")).header("authorization", format!("{scheme} {key}"));
        assert_eq!(request.send().await.unwrap().status(), 200, "{scheme}");
    }
    // Only a WebSocket, which can set no header, may bring it elsewhere.
    assert_eq!(Caller::nobody().get(&format!("/v1/keys?token={key}")).await.code(), "unauthorized");
}

#[tokio::test]
async fn markup_in_a_request_is_answered_as_json() {
    let mark = "<script>alert(1)</script>";
    for caller in [Caller::nobody(), Caller::operator()] {
        for route in [
            format!("/v1/{mark}"),
            format!("/{mark}?{mark}"),
            format!("/v1/sandboxes/{mark}"),
            format!("/v1/sandboxes/sbx-{mark}/exec"),
            format!("/v1/keys/{mark}"),
            format!("/v1/keys?cursor={mark}"),
            format!("/v1/keys?limit={mark}"),
        ] {
            let answer = caller.get(&route).await;
            assert!(answer.status.is_client_error(), "{route}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{route}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{route}");
        }
    }
}

#[tokio::test]
async fn a_token_in_a_url_is_not_echoed() {
    let mark = "hunter2hunter2";
    for route in [
        format!("/?token={mark}"),
        format!("/v1/nowhere?token={mark}"),
        format!("/v1/sandboxes/nonsense?token={mark}"),
        format!("/v1/sandboxes/sbx-never-made/exec?token={mark}"),
        format!("/v1/keys?cursor=x&token={mark}"),
    ] {
        for caller in [Caller::nobody(), Caller::operator(), Caller::with(mark)] {
            let answer = caller.get(&route).await;
            assert!(answer.status.is_client_error(), "{route}");
            let shown = format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.bytes));
            assert!(!shown.contains(mark), "{route}: {shown}");
        }
    }
}

#[tokio::test]
async fn invalid_ids_are_refused() {
    let caller = Caller::operator();
    for id in ["sbx-constructor", "sbx---proto--a", "sbx-0", "SBX-NEVER-MADE"] {
        assert!(
            ["not_found", "invalid_request"].contains(&caller.get(&format!("/v1/sandboxes/{id}")).await.code().as_str()),
            "{id}"
        );
    }
    let long = "a".repeat(8_000);
    for (route, code) in [
        (format!("/v1/sandboxes/sbx-{long}"), "invalid_request"),
        (format!("/v1/keys/{long}"), "not_found"),
        ("/v1/keys/constructor".to_owned(), "not_found"),
        ("/v1/keys/aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(), "not_found"),
    ] {
        assert_eq!(caller.get(&route).await.code(), code);
    }
}
