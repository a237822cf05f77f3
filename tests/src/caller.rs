//! The HTTP client of all cases.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{Answer, Issuer, Sandbox};

/// A client of one service or agent, with one token or none.
#[derive(Debug, Clone)]
pub struct Caller {
    http: Client,
    url: String,
    /// The token that it sends.
    pub token: Option<String>,
    /// The tenant that it names in each request, which only an operator does.
    named_tenant: Option<String>,
}

impl Caller {
    /// A client of whatever answers at this URL.
    pub(crate) fn at(url: impl Into<String>, token: Option<String>) -> Self {
        // Each client has connections of its own, so that closing one disturbs nobody else. A server may close an idle one just when it
        // is used again, so none is kept for long.
        let http = Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(1)).build().unwrap();
        Self { http, url: url.into(), token, named_tenant: None }
    }

    /// A client of the service with this token.
    pub fn with(token: impl Into<String>) -> Self {
        Self::at(service().0, Some(token.into()))
    }

    /// A client of the service without credentials.
    pub fn nobody() -> Self {
        Self::at(service().0, None)
    }

    /// A client of the service with the operator's key.
    pub fn operator() -> Self {
        let (url, key) = service();
        Self::at(url, Some(key))
    }

    /// The operator, who acts for this tenant.
    pub fn operator_for(tenant: &str) -> Self {
        Self { named_tenant: Some(tenant.to_owned()), ..Self::operator() }
    }

    /// A client of the service with a fresh key of this tenant, with these scopes.
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

    /// The sandbox of this id, which must exist before anything is asked of it.
    pub fn sandbox(&self, id: &str) -> Sandbox {
        Sandbox::of_service(self.clone(), id)
    }

    /// Where a route is.
    pub fn url(&self, route: &str) -> String {
        format!("{}{route}", self.url)
    }

    /// A request to a route, with the token.
    pub fn request(&self, method: Method, route: &str) -> RequestBuilder {
        let request = self.anonymous(method, route);
        self.token.iter().fold(request, |request, token| request.bearer_auth(token))
    }

    /// A request to a route, without the token.
    pub fn anonymous(&self, method: Method, route: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(route));
        self.named_tenant.iter().fold(request, |request, tenant| request.header("x-cabana-tenant", tenant))
    }

    /// Sends a request with this body and reads the answer.
    pub async fn ask(&self, method: Method, route: &str, body: Option<Value>) -> Answer {
        let request = self.request(method, route);
        let request = body.iter().fold(request, |request, body| request.json(body));
        Answer::of(request.send().await.unwrap()).await
    }

    /// Whether an agent answers its health check.
    pub(crate) async fn is_healthy(&self) -> bool {
        self.anonymous(Method::GET, "/health").send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// `GET`.
    pub async fn get(&self, route: &str) -> Answer {
        self.ask(Method::GET, route, None).await
    }

    /// `POST`.
    pub async fn post(&self, route: &str, body: Value) -> Answer {
        self.ask(Method::POST, route, Some(body)).await
    }

    /// `DELETE`.
    pub async fn delete(&self, route: &str) -> Answer {
        self.ask(Method::DELETE, route, None).await
    }
}

/// The URL of the service under test and its key. The issuer that it trusts, if it trusts one of ours, has published its keys by then.
pub(crate) fn service() -> (String, String) {
    Issuer::of_service();
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    (variable("CABANA_TEST_URL"), variable("CABANA_TEST_API_KEY"))
}
