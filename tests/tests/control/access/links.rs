//! Links to one file: good for what they were made for, and for nothing else.

use cabana_tests::{Answer, Caller};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::control::fresh_name;

async fn make(caller: &Caller, route: &str, request: Value) -> Value {
    let answer = caller.post(&format!("{route}/links"), request).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    answer.json()
}

/// A request without credentials.
async fn visit(method: Method, url: &str, body: Option<Vec<u8>>) -> Answer {
    let request = Client::builder().no_proxy().build().unwrap().request(method, url);
    Answer::of(body.into_iter().fold(request, |request, body| request.body(body)).send().await.unwrap()).await
}

#[tokio::test]
async fn a_link_downloads_or_uploads_one_file() {
    let caller = Caller::of_tenant(&fresh_name("link"), json!({})).await;
    let name = fresh_name("link");
    assert_eq!(caller.post("/v1/sandboxes", json!({ "name": name })).await.status, 201);
    let route = format!("/v1/sandboxes/sbx-{name}");
    let up = make(&caller, &route, json!({ "path": "in b/\u{e9}&", "action": "upload", "max_bytes": 5 })).await;
    let url = up["url"].as_str().unwrap();
    assert_eq!(up["method"], "PUT");
    assert_eq!(visit(Method::PUT, url, Some(b"12345".to_vec())).await.status, StatusCode::CREATED);
    let large = visit(Method::PUT, url, Some(b"123456".to_vec())).await;
    assert_eq!((large.code().as_str(), &large.json()["error"]["details"]["limit_bytes"]), ("payload_too_large", &json!(5)));
    let down = make(&caller, &route, json!({ "path": "in b/\u{e9}&", "action": "download" })).await;
    let download = down["url"].as_str().unwrap();
    let got = visit(Method::GET, download, None).await;
    assert_eq!(got.header("content-security-policy"), Some("sandbox"));
    assert_eq!(got.success(), b"12345");
    assert_eq!(visit(Method::HEAD, download, None).await.status, StatusCode::OK);
    for (what, method, url, code) in [
        ("another method", Method::GET, url.to_owned(), "forbidden"),
        ("a deletion", Method::DELETE, download.to_owned(), "forbidden"),
        ("another file", Method::GET, download.replace("path=in", "path=out"), "forbidden"),
        ("another parameter", Method::PUT, format!("{url}&mode=0777"), "forbidden"),
        ("another route", Method::GET, download.replace("/files?", "/archive?"), "unauthorized"),
        ("another sandbox", Method::GET, download.replace(&name, &format!("{name}x")), "forbidden"),
        ("another signature", Method::GET, format!("{download}x"), "unauthorized"),
    ] {
        assert_eq!(visit(method, &url, None).await.code(), code, "{what}");
    }
    let short = make(&caller, &route, json!({ "path": "x", "action": "download", "expires_in_ms": 1_000 })).await;
    cabana_tests::until("it ends", async || {
        let answer = visit(Method::GET, short["url"].as_str().unwrap(), None).await;
        answer.code() == "unauthorized"
    })
    .await;
    caller.delete(&route).await;
}

#[tokio::test]
async fn no_link_is_more_than_its_maker() {
    let tenant = fresh_name("link");
    let owner = Caller::of_tenant(&tenant, json!({})).await;
    let name = fresh_name("link");
    owner.post("/v1/sandboxes", json!({ "name": name })).await;
    let route = format!("/v1/sandboxes/sbx-{name}");
    let token = owner.post(&format!("{route}/tokens"), json!({})).await.json()["token"].as_str().unwrap().to_owned();
    let (up, down) = (json!({ "path": "a", "action": "upload" }), json!({ "path": "a", "action": "download" }));
    for (scopes, request, status) in [
        (json!({ "read_only": true }), &down, 201),
        (json!({ "read_only": true }), &up, 403),
        (json!({ "operations": ["file"] }), &down, 403),
        (json!({ "operations": ["token", "file.write"] }), &up, 201),
        (json!({ "sandboxes": ["sbx-other"] }), &down, 403),
    ] {
        let caller = Caller::of_tenant(&tenant, scopes.clone()).await;
        let answer = caller.post(&format!("{route}/links"), request.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{scopes} {request}: {}", answer.json());
    }
    assert_eq!(Caller::with(token).post(&format!("{route}/links"), down.clone()).await.code(), "forbidden");
    let stranger = Caller::of_tenant(&fresh_name("link"), json!({})).await;
    assert_eq!(stranger.post(&format!("{route}/links"), down.clone()).await.code(), "not_found");
    for bad in
        [json!({}), json!({ "path": "a" }), json!({ "path": "", "action": "download" }), json!({ "path": "a", "action": "both" })]
    {
        assert_eq!(owner.post(&format!("{route}/links"), bad.clone()).await.code(), "invalid_request", "{bad}");
    }
    owner.delete(&route).await;
}
