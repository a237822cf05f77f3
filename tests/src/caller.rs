//! Somebody who calls the whole service with credentials of his own.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::{Sandbox, sandbox::Answer};

/// A caller with one token, or none.
#[derive(Debug, Clone)]
pub struct Caller {
    http: Client,
    url: String,
    /// What it shows.
    pub token: Option<String>,
}

impl Caller {
    /// Whoever shows this token.
    pub fn with(token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..Self::nobody() }
    }

    /// Whoever shows nothing.
    pub fn nobody() -> Self {
        Self { http: Client::builder().no_proxy().build().unwrap(), url: Sandbox::service().0, token: None }
    }

    /// Whoever runs the service.
    pub fn operator() -> Self {
        Self::with(Sandbox::service().1)
    }

    /// Whoever has a fresh key of this tenant, with these scopes.
    pub async fn of_tenant(tenant: &str, scopes: Value) -> Self {
        let body = json!({ "name": "a case", "tenant": tenant, "scopes": scopes, "expires_in_ms": 3_600_000 });
        let answer = Self::operator().post("/v1/keys", body).await;
        assert_eq!(answer.status.as_u16(), 201, "{}", answer.json());
        Self::with(answer.json()["key"].as_str().unwrap())
    }

    /// The id of its key.
    pub fn key_id(&self) -> &str {
        self.token.as_deref().and_then(|token| token.split('_').nth(1)).expect("a key")
    }

    /// Asks.
    pub async fn ask(&self, method: Method, route: &str, body: Option<Value>) -> Answer {
        let request = self.http.request(method, format!("{}{route}", self.url));
        let request = self.token.iter().fold(request, |request, token| request.bearer_auth(token));
        let request = body.iter().fold(request, |request, body| request.json(body));
        Answer::of(request.send().await.unwrap()).await
    }

    /// Asks for something to be shown.
    pub async fn get(&self, route: &str) -> Answer {
        self.ask(Method::GET, route, None).await
    }

    /// Asks for something to be done.
    pub async fn post(&self, route: &str, body: Value) -> Answer {
        self.ask(Method::POST, route, Some(body)).await
    }

    /// Asks for something to be removed.
    pub async fn delete(&self, route: &str) -> Answer {
        self.ask(Method::DELETE, route, None).await
    }
}
