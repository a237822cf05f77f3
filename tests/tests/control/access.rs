//! Credentials, tenants, and the answers that refusals give.

mod jwts;
mod keys;
mod links;
mod matrix;
mod pages;
mod sockets;
mod tokens;

use cabana_tests::{Caller, until};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

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
    assert_eq!(owner.delete(&theirs).await.status, 204);
}

#[tokio::test]
async fn tenants_have_sandboxes_of_the_same_name() {
    let name = fresh_name("prod");
    let route = format!("/v1/sandboxes/sbx-{name}");
    let tenants = ["default".to_owned(), fresh_name("a"), fresh_name("b")];
    let callers = join_all(tenants.iter().map(|tenant| Caller::of_tenant(tenant, json!({})))).await;
    for (caller, tenant) in callers.iter().zip(&tenants) {
        let made = caller.post("/v1/sandboxes", json!({ "name": name, "labels": { "of": tenant } })).await;
        assert_eq!((made.status.as_u16(), &made.json()["tenant"]), (201, &json!(tenant)));
    }
    let port = json!({ "port": 3000, "access": "public", "wakes": false });
    let mut urls = Vec::new();
    for (caller, tenant) in callers.iter().zip(&tenants) {
        let write = json!({ "path": "whose", "content": tenant });
        assert_eq!(caller.post(&format!("{route}/file/write"), write).await.status, 200, "{tenant}");
        urls.push(caller.post(&format!("{route}/ports"), port.clone()).await.json()["url"].clone());
    }
    assert!(urls.iter().all(|url| urls.iter().filter(|other| *other == url).count() == 1), "{urls:?}");
    for (caller, tenant) in callers.iter().zip(&tenants) {
        let read = caller.post(&format!("{route}/file/read"), json!({ "path": "whose" })).await.json();
        let operators = Caller::operator_for(tenant).get(&route).await.json();
        assert_eq!((&read["content"], &operators["labels"]["of"]), (&json!(tenant), &json!(tenant)));
        let listed = async || caller.get(&format!("/v1/sandboxes?name={name}")).await.json()["items"].clone();
        until("the directory knows it, and no other tenant's", async || {
            let listed = listed().await;
            listed.as_array().is_some_and(|items| items.len() == 1) && listed[0]["tenant"] == json!(tenant)
        })
        .await;
    }
    let all = async || Caller::operator().get(&format!("/v1/sandboxes?name={name}&limit=2")).await.json();
    until("the operator lists them all, by pages", async || {
        let first = all().await;
        let rest = format!("/v1/sandboxes?name={name}&limit=2&cursor={}", first["cursor"].as_str().unwrap_or_default());
        let count = |page: &Value| page["items"].as_array().map_or(0, Vec::len);
        count(&first) == 2 && count(&Caller::operator().get(&rest).await.json()) == 1
    })
    .await;
    assert_eq!(callers[1].delete(&route).await.status, 204);
    for (caller, status) in callers.iter().zip([200, 404, 200]) {
        assert_eq!(caller.get(&route).await.status.as_u16(), status, "one is destroyed, and no other");
        caller.delete(&route).await;
    }
}

#[tokio::test]
async fn only_an_operator_acts_for_another_tenant() {
    let (name, tenant) = (fresh_name("acted"), fresh_name("a"));
    let owner = Caller::of_tenant(&tenant, json!({})).await;
    owner.post("/v1/sandboxes", json!({ "name": name })).await;
    let route = format!("/v1/sandboxes/sbx-{name}");
    let ask = async |caller: &Caller, named: &str| {
        let request = caller.request(Method::GET, &route).header("x-cabana-tenant", named);
        request.send().await.unwrap().status().as_u16()
    };
    let other = Caller::of_tenant(&fresh_name("b"), json!({})).await;
    for (caller, named, status) in [
        (&owner, tenant.as_str(), 200),
        (&other, &tenant, 403),
        (&Caller::operator(), &tenant, 200),
        (&Caller::operator(), "default", 404),
        (&Caller::operator(), "No Tenant", 400),
        (&Caller::nobody(), &tenant, 401),
    ] {
        assert_eq!(ask(caller, named).await, status, "{named}");
    }
    let operator = Caller::operator_for(&tenant);
    assert_eq!(operator.get("/v1/keys").await.code(), "forbidden", "keys are made by the operator as such");
    let listed = async || operator.get("/v1/sandboxes").await.json()["items"].clone();
    until("it lists this tenant's and no others", async || {
        let listed = listed().await;
        listed.as_array().is_some_and(|items| items.len() == 1) && listed[0]["tenant"] == json!(tenant)
    })
    .await;
    assert_eq!(operator.delete(&route).await.status, 204);
    assert_eq!(owner.get(&route).await.code(), "not_found");
}

#[tokio::test]
async fn creating_an_existing_name_returns_the_sandbox_unchanged() {
    let name = fresh_name("same");
    let make = async |body| Caller::operator().post("/v1/sandboxes", body).await;
    let made = make(json!({ "name": name, "env": { "A": "1" } })).await;
    for same in [json!({ "name": name, "env": { "A": "1" } }), json!({ "name": name })] {
        let found = make(same.clone()).await;
        assert_eq!((made.status.as_u16(), found.status.as_u16()), (201, 200), "{same}");
        assert_eq!(made.json()["created_at"], found.json()["created_at"]);
    }
    let other = make(json!({ "name": name, "env": { "A": "2" } })).await;
    assert_eq!((other.code().as_str(), &other.json()["error"]["details"]["differs"]), ("conflict", &json!(["env"])));
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
