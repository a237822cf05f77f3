//! API keys.

use cabana_tests::{Caller, Sandbox, Socket};
use reqwest::Method;
use serde_json::json;

use super::{super::fresh_name, words};

#[tokio::test]
async fn a_key_is_created_changed_and_revoked() {
    let (operator, tenant) = (Caller::operator(), fresh_name("keys"));
    let body = json!({ "name": "ci", "tenant": tenant, "scopes": { "operations": ["file"] }, "expires_in_ms": 60_000 });
    let made = operator.post("/v1/keys", body).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(key.split_once('_').map(|(_, rest)| rest.starts_with(id)), Some(true), "{key}");
    let route = format!("/v1/keys/{id}");
    let shown = operator.get(&route).await.json();
    assert_eq!((&shown["name"], &shown["scopes"]), (&json!("ci"), &json!({ "operations": ["file"] })));
    assert!(shown.get("key").is_none() && !shown.to_string().contains(key.rsplit('_').next().unwrap()), "it is shown once");

    let bearer = Caller::with(key);
    assert_eq!(bearer.get("/v1/sandboxes/sbx-never-made/files?path=a").await.code(), "not_found", "it is good at once");
    assert_eq!(bearer.post("/v1/sandboxes/sbx-never-made/exec", json!({})).await.code(), "forbidden");
    assert_eq!(bearer.get("/v1/keys").await.code(), "forbidden", "keys are only for those who may have them by name");

    let renamed = operator.ask(Method::PATCH, &route, Some(json!({ "name": "cd" }))).await.json();
    assert_eq!((&renamed["name"], &renamed["expires_at"]), (&json!("cd"), &made["expires_at"]));
    let listed = operator.get(&format!("/v1/keys?tenant={tenant}")).await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");

    assert_eq!(operator.delete(&route).await.status, 204);
    assert_eq!(operator.delete(&route).await.status, 204, "revoking is idempotent");
    assert_eq!(bearer.get("/v1/sandboxes/sbx-never-made").await.code(), "unauthorized", "it ends at once where it was revoked");
    assert!(operator.get(&route).await.json()["revoked_at"].is_string());
    let listed = async |query: &str| operator.get(&format!("/v1/keys?tenant={tenant}{query}")).await.json()["items"].clone();
    assert_eq!((listed("").await, listed("&revoked=true").await[0]["id"].as_str()), (json!([]), Some(id)));
}

#[tokio::test]
async fn keys_are_listed_in_pages() {
    let (operator, tenant) = (Caller::operator(), fresh_name("pages"));
    let mut made = Vec::new();
    for _ in 0..3 {
        made.insert(0, Caller::of_tenant(&tenant, json!({})).await.key_id().to_owned());
    }
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = operator.get(&format!("/v1/keys?tenant={tenant}&limit=2{cursor}")).await.json();
        let keys = page["items"].as_array().unwrap();
        assert!(!keys.is_empty() && keys.len() <= 2, "{page}");
        found.extend(keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    made.sort();
    found.sort();
    assert_eq!(found, made);
    for query in ["limit=0", "limit=201", "limit=x", "limit=-1", "cursor=x", "tenant=A"] {
        assert_eq!(operator.get(&format!("/v1/keys?{query}")).await.code(), "invalid_request", "{query}");
    }
}

#[tokio::test]
async fn a_tenant_creates_keys_for_itself_only() {
    let tenant = fresh_name("maker");
    let maker = Caller::of_tenant(&tenant, json!({ "operations": ["key", "file"] })).await;
    let made = maker.post("/v1/keys", json!({ "name": "less", "scopes": { "operations": ["file.read"] } })).await;
    assert_eq!(made.status, 201);
    assert_eq!((&made.json()["tenant"], &made.json()["created_by"]), (&json!(tenant), &json!(format!("key:{}", maker.key_id()))));
    for (body, code) in [
        (json!({ "name": "other", "tenant": "default" }), "forbidden"),
        (json!({ "name": "more", "scopes": {} }), "forbidden"),
        (json!({ "name": "more", "scopes": { "operations": ["exec"] } }), "forbidden"),
        (json!({ "name": "longer", "expires_in_ms": 86_400_000 }), "forbidden"),
        (json!({ "name": "" }), "invalid_request"),
        (json!({ "name": "array", "scopes": [] }), "invalid_request"),
        (json!({ "name": "typing error", "scopes": { "operation": ["file"] } }), "invalid_request"),
        (json!({ "name": "past", "expires_at": "2020-01-01T00:00:00Z" }), "invalid_request"),
    ] {
        assert_eq!(maker.post("/v1/keys", body.clone()).await.code(), code, "{body}");
    }
    let other = Caller::of_tenant(&fresh_name("other"), json!({ "operations": ["key"] })).await;
    let (theirs, nobodys) = (format!("/v1/keys/{}", maker.key_id()), "/v1/keys/aaaaaaaaaaaaaaaaaaaaaaaaaa");
    for (method, body) in [(Method::GET, None), (Method::PATCH, Some(json!({ "name": "mine" }))), (Method::DELETE, None)] {
        let ask = async |route: &str| words(&other.ask(method.clone(), route, body.clone()).await);
        assert_eq!(ask(&theirs).await, ask(nobodys).await, "{method}");
    }
    assert_eq!(other.get("/v1/keys").await.json()["items"].as_array().map(Vec::len), Some(1), "nothing but its own");
    assert_eq!(maker.get("/v1/keys").await.json()["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_cached_key_needs_no_database_query() {
    let bearer = Caller::of_tenant(&fresh_name("hot"), json!({})).await;
    let listed = Caller::operator().get("/v1/keys?limit=1").await;
    assert_eq!(listed.header("server-timing"), Some(r#"d1;desc="1""#), "queries are counted");
    for _ in 0..3 {
        let answer = bearer.get("/v1/sandboxes/sbx-never-made").await;
        assert_eq!((answer.code().as_str(), answer.header("server-timing")), ("not_found", None));
    }
    let made_up = Caller::with(format!("cab_{}_{}", "z".repeat(26), "0".repeat(64)));
    let timing = async || made_up.get("/v1/keys").await.header("server-timing").map(str::to_owned);
    assert_eq!((timing().await.is_some(), timing().await), (true, None), "that there is no such key is known for a while, too");
}

#[tokio::test]
async fn keys_end_with_the_key_that_made_them() {
    let tenant = fresh_name("family");
    let scopes = json!({ "operations": ["key", "sandbox"] });
    let parent = Caller::of_tenant(&tenant, scopes.clone()).await;
    let make = async |maker: &Caller| {
        let made = maker.post("/v1/keys", json!({ "name": "made", "scopes": scopes.clone() })).await;
        Caller::with(made.json()["key"].as_str().unwrap())
    };
    let (child, stranger) = (make(&parent).await, Caller::of_tenant(&tenant, scopes.clone()).await);
    let grandchild = make(&child).await;
    for key in [&parent, &child, &grandchild, &stranger] {
        assert_eq!(key.get("/v1/sandboxes").await.status, 200);
    }
    assert_eq!(Caller::operator().delete(&format!("/v1/keys/{}", parent.key_id())).await.status, 204);
    for key in [&parent, &child, &grandchild] {
        assert_eq!(key.get("/v1/sandboxes").await.code(), "unauthorized");
    }
    assert_eq!(stranger.get("/v1/sandboxes").await.status, 200, "keys of others stay good");
    let shown = async |key: &Caller| Caller::operator().get(&format!("/v1/keys/{}", key.key_id())).await.json();
    assert_eq!(shown(&parent).await["revoked_at"], shown(&grandchild).await["revoked_at"]);
}

#[tokio::test]
async fn expired_keys_do_not_count_towards_the_limit_of_keys() {
    let tenant = fresh_name("short");
    let body = json!({ "name": "short", "tenant": tenant, "expires_in_ms": 1 });
    let operator = Caller::operator();
    // More than a tenant may have at once.
    for round in 0..41 {
        let made = futures_util::future::join_all((0..25).map(|_| operator.post("/v1/keys", body.clone()))).await;
        assert!(made.iter().all(|made| made.status == 201), "round {round}");
    }
}

#[tokio::test]
async fn altered_keys_are_refused() {
    let bearer = Caller::of_tenant(&fresh_name("variants"), json!({})).await;
    let key = bearer.token.clone().unwrap();
    let other = Caller::of_tenant(&fresh_name("variants"), json!({})).await.token.unwrap();
    let (id, secret) = (bearer.key_id(), key.rsplit('_').next().unwrap());
    for variant in [
        key[1..].to_owned(),
        key[..key.len() - 1].to_owned(),
        format!("{key}0"),
        key.to_uppercase(),
        format!("cab_{id}"),
        format!("cab_{id}_"),
        format!("cab_{secret}_{id}"),
        format!("cab_{id}_{}", other.rsplit('_').next().unwrap()),
        format!("cabt_{id}_{secret}"),
        secret.to_owned(),
    ] {
        assert_eq!(Caller::with(&variant).get("/v1/sandboxes/sbx-a").await.code(), "unauthorized", "{variant}");
    }
    let url = format!("{}/v1/sandboxes/sbx-never-made/connect", Sandbox::service().0);
    assert_eq!(Socket::open(&format!("{url}?token={key}"), &[]).await.unwrap_err(), Some(404), "it is let in, and finds nothing");
    assert_eq!(Socket::open(&format!("{url}?token={key}0"), &[]).await.unwrap_err(), Some(401));
}
