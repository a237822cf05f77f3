//! What a tenant may have at once, and how often it may ask. `cargo xtask dev` gives these tenants their limits.

use cabana_tests::{Sandbox, until};
use futures_util::future::join_all;
use reqwest::{Client, Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use super::{fresh_name, request};

/// Somebody who acts for a tenant.
struct Tenant {
    key: String,
}

impl Tenant {
    async fn new(tenant: &str) -> Self {
        let (status, made) = request(Method::POST, "/v1/keys", Some(json!({ "name": "quota", "tenant": tenant }))).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        Self { key: made["key"].as_str().unwrap().to_owned() }
    }

    async fn send(&self, method: Method, route: &str, body: Value) -> (StatusCode, HeaderMap, Value) {
        let url = format!("{}{route}", Sandbox::service().0);
        let answer = Client::new().request(method, url).bearer_auth(&self.key).json(&body).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        (status, headers, answer.json().await.unwrap_or_default())
    }

    async fn create(&self, name: &str) -> (StatusCode, HeaderMap, Value) {
        self.send(Method::POST, "/v1/sandboxes", json!({ "name": name })).await
    }

    async fn exec(&self, name: &str) -> (StatusCode, HeaderMap, Value) {
        self.send(Method::POST, &format!("/v1/sandboxes/sbx-{name}/exec"), json!({ "command": "true" })).await
    }

    async fn destroy(&self, name: &str) {
        assert_eq!(self.send(Method::DELETE, &format!("/v1/sandboxes/sbx-{name}"), json!({})).await.0, StatusCode::NO_CONTENT);
    }
}

/// Checks a refusal, and that it says when to come again.
fn refused((status, headers, body): &(StatusCode, HeaderMap, Value), quota: &str, limit: u64) {
    assert_eq!((*status, &body["error"]["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("too_many_requests")), "{body}");
    let details = &body["error"]["details"];
    assert_eq!((&details["quota"], &details["limit"]), (&json!(quota), &json!(limit)), "{body}");
    assert!(details["used"].as_u64() >= Some(limit) && details["retry_after_ms"].as_u64() > Some(0), "{body}");
    assert!(headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn parallel_creates_never_exceed_the_quota() {
    let tenant = Tenant::new("test-sandboxes").await;
    let prefix = fresh_name("quota");
    let names: Vec<_> = (0..12).map(|number| format!("{prefix}-{number}")).collect();
    let answers = join_all(names.iter().map(|name| tenant.create(name))).await;
    let (made, rest): (Vec<_>, Vec<_>) = names.iter().zip(&answers).partition(|(_, answer)| answer.0 == StatusCode::CREATED);
    assert_eq!(made.len(), 3);
    rest.iter().for_each(|(_, answer)| refused(answer, "sandbox", 3));
    assert_eq!(tenant.create(made[0].0).await.0, StatusCode::OK, "what is there is found");
    tenant.destroy(made[0].0).await;
    until("its place is free", async || tenant.create(rest[0].0).await.0 == StatusCode::CREATED).await;
    refused(&tenant.create(rest[1].0).await, "sandbox", 3);
    for name in [made[1].0, made[2].0, rest[0].0] {
        tenant.destroy(name).await;
    }
}

#[tokio::test]
async fn no_more_run_at_once_than_may() {
    let tenant = Tenant::new("test-running").await;
    let prefix = fresh_name("quota");
    let names: Vec<_> = (0..4).map(|number| format!("{prefix}-{number}")).collect();
    for name in &names {
        assert_eq!(tenant.create(name).await.0, StatusCode::CREATED);
    }
    let answers = join_all(names.iter().map(|name| tenant.exec(name))).await;
    let (up, down): (Vec<_>, Vec<_>) = names.iter().zip(&answers).partition(|(_, answer)| answer.0 == StatusCode::OK);
    assert_eq!(up.len(), 2);
    down.iter().for_each(|(_, answer)| refused(answer, "running", 2));
    assert_eq!(tenant.exec(up[0].0).await.0, StatusCode::OK, "who has a place keeps it");
    tenant.send(Method::POST, &format!("/v1/sandboxes/sbx-{}/stop", up[0].0), json!({})).await;
    until("its place is free", async || tenant.exec(down[0].0).await.0 == StatusCode::OK).await;
    refused(&tenant.exec(up[0].0).await, "running", 2);
    for name in &names {
        tenant.destroy(name).await;
    }
}

#[tokio::test]
async fn requests_beyond_the_rate_are_refused() {
    let tenant = Tenant::new("test-requests").await;
    let answers = join_all((0..40).map(|_| tenant.send(Method::GET, "/v1/sandboxes/sbx-none", json!({})))).await;
    let (admitted, rest): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.0 == StatusCode::NOT_FOUND);
    assert!((1..=20).contains(&admitted.len()), "{}", admitted.len());
    rest.iter().for_each(|answer| refused(answer, "requests_per_minute", 20));
    assert_eq!(request(Method::GET, "/v1/sandboxes/sbx-none", None).await.0, StatusCode::NOT_FOUND, "others are not disturbed");
}
