//! Quotas of tenants. `cargo xtask dev` gives these tenants their limits.

use cabana_tests::{Answer, Caller, until};
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use super::fresh_name;

/// A client of a tenant with few sandboxes.
struct Tenant(Caller);

impl Tenant {
    async fn new(tenant: &str) -> Self {
        Self(Caller::of_tenant(tenant, json!({})).await)
    }

    async fn create(&self, name: &str) -> Answer {
        self.0.post("/v1/sandboxes", json!({ "name": name })).await
    }

    async fn exec(&self, name: &str) -> Answer {
        self.0.post(&format!("/v1/sandboxes/sbx-{name}/exec"), json!({ "command": "true" })).await
    }

    async fn destroy(&self, name: &str) {
        assert_eq!(self.0.delete(&format!("/v1/sandboxes/sbx-{name}")).await.status, StatusCode::NO_CONTENT);
    }
}

/// Checks a refusal, and that it says when to come again.
fn refused(answer: &Answer, quota: &str, limit: u64) {
    assert_eq!(answer.code(), "too_many_requests");
    let body = answer.json();
    let details = &body["error"]["details"];
    assert_eq!((&details["quota"], &details["limit"]), (&json!(quota), &json!(limit)), "{body}");
    assert!(details["used"].as_u64() >= Some(limit) && details["retry_after_ms"].as_u64() > Some(0), "{body}");
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn parallel_creates_never_exceed_the_quota() {
    let tenant = Tenant::new("test-sandboxes").await;
    let prefix = fresh_name("quota");
    let names: Vec<_> = (0..12).map(|number| format!("{prefix}-{number}")).collect();
    let answers = join_all(names.iter().map(|name| tenant.create(name))).await;
    let (made, rest): (Vec<_>, Vec<_>) = names.iter().zip(&answers).partition(|(_, answer)| answer.status == StatusCode::CREATED);
    assert_eq!(made.len(), 3);
    rest.iter().for_each(|(_, answer)| refused(answer, "sandbox", 3));
    assert_eq!(tenant.create(made[0].0).await.status, StatusCode::OK, "what is there is found");
    tenant.destroy(made[0].0).await;
    until("its place is free", async || tenant.create(rest[0].0).await.status == StatusCode::CREATED).await;
    refused(&tenant.create(rest[1].0).await, "sandbox", 3);
    for name in [made[1].0, made[2].0, rest[0].0] {
        tenant.destroy(name).await;
    }
}

#[tokio::test]
async fn running_sandboxes_never_exceed_the_quota() {
    let tenant = Tenant::new("test-running").await;
    let prefix = fresh_name("quota");
    let names: Vec<_> = (0..4).map(|number| format!("{prefix}-{number}")).collect();
    for name in &names {
        assert_eq!(tenant.create(name).await.status, StatusCode::CREATED);
    }
    let answers = join_all(names.iter().map(|name| tenant.exec(name))).await;
    let (up, down): (Vec<_>, Vec<_>) = names.iter().zip(&answers).partition(|(_, answer)| answer.status == StatusCode::OK);
    assert_eq!(up.len(), 2);
    down.iter().for_each(|(_, answer)| refused(answer, "running", 2));
    assert_eq!(tenant.exec(up[0].0).await.status, StatusCode::OK, "a running sandbox keeps its place");
    tenant.0.post(&format!("/v1/sandboxes/sbx-{}/stop", up[0].0), json!({})).await;
    until("its place is free", async || tenant.exec(down[0].0).await.status == StatusCode::OK).await;
    refused(&tenant.exec(up[0].0).await, "running", 2);
    for name in &names {
        tenant.destroy(name).await;
    }
}

#[tokio::test]
async fn requests_beyond_the_rate_are_refused() {
    let tenant = Tenant::new("test-requests").await;
    let answers = join_all((0..40).map(|_| tenant.0.get("/v1/sandboxes/sbx-none"))).await;
    let (admitted, rest): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == StatusCode::NOT_FOUND);
    assert!((1..=20).contains(&admitted.len()), "{}", admitted.len());
    rest.iter().for_each(|answer| refused(answer, "requests_per_minute", 20));
    assert_eq!(Caller::operator().get("/v1/sandboxes/sbx-none").await.status, StatusCode::NOT_FOUND, "others are not disturbed");
}
