//! The client of one service.

use std::{fmt, sync::Arc, time::Duration};

use cabana_protocol::{
    SandboxId,
    sandbox::{CreateSandbox, ListSandboxes, SandboxKinds, Sandboxes},
};
use http::{Method, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::ClientConfig;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Body, Error, Result, Retries, Sandbox, request::Request, tls};

/// How long a connection may take to be made.
pub(crate) const CONNECT: Duration = Duration::from_secs(15);

/// A client of one service with one key. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) http: legacy::Client<HttpsConnector<HttpConnector>, Body>,
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) user_agent: String,
    pub(crate) settings: Settings,
}

/// What a client may be told beside its URL and key.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The tenant that an operator acts for. Default: the key's own.
    pub tenant: Option<String>,
    /// When requests are sent again.
    pub retries: Retries,
    /// The program, for the logs of the service. Default: this crate and its version.
    pub user_agent: Option<String>,
}

impl fmt::Debug for Client {
    // The key is a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("url", &self.shared.url).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the service at this URL, `http://` or `https://`. Makes no connection yet.
    ///
    /// Fails with [`Error::Invalid`] where the URL or the key cannot be used.
    pub fn new(url: &str, key: &str) -> Result<Self> {
        Self::with(url, key, Settings::default())
    }

    /// The same with these settings.
    pub fn with(url: &str, key: &str, settings: Settings) -> Result<Self> {
        let parsed: Uri = url.parse().map_err(|error| Error::Invalid(format!("{url:?} is not a URL: {error}")))?;
        let is_secure = parsed.scheme_str() == Some("https");
        if !(is_secure || parsed.scheme_str() == Some("http")) || parsed.host().is_none_or(str::is_empty) {
            return Err(Error::Invalid(format!("{url:?} is not a URL that begins with http:// or https://")));
        }
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Invalid("the key is empty, or has characters that no key has".to_owned()));
        }
        // To load the system's certificates takes milliseconds, which plain HTTP does not need to wait for.
        let tls = tls::configuration(is_secure)?;
        let agent = settings.user_agent.clone();
        let user_agent = agent.unwrap_or_else(|| concat!("cabana-client/", env!("CARGO_PKG_VERSION")).to_owned());
        // HTTP/1.1: a stream that is left must close its connection, or the service does not notice.
        let connector = HttpsConnectorBuilder::new().with_tls_config(ClientConfig::clone(&tls)).https_or_http().enable_http1();
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector.wrap_connector(http_connector()));
        let url = url.trim_end_matches('/').to_owned();
        let shared = Shared { http, url, key: key.to_owned(), tls, user_agent, settings };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Where the service is.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// The sandbox of this id. Asks nothing of the service: whether it exists shows with the first request.
    pub fn sandbox(&self, id: SandboxId) -> Sandbox {
        Sandbox::new(self.clone(), id)
    }

    /// Creates a sandbox, or finds the one of that name.
    pub async fn create(&self, request: &CreateSandbox) -> Result<cabana_protocol::sandbox::Sandbox> {
        // With a name the same request finds the same sandbox.
        let idempotent = request.name.is_some();
        self.json(Request::new(Method::POST, "/v1/sandboxes").with_json(request)?.idempotent(idempotent)).await
    }

    /// A page of the sandboxes that the key may see.
    pub async fn list(&self, filter: &ListSandboxes) -> Result<Sandboxes> {
        let mut request = Request::new(Method::GET, "/v1/sandboxes").with_query("limit", filter.limit.to_string());
        for (name, value) in &filter.labels {
            let label = value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}={value}"));
            request = request.with_query("label", label);
        }
        let given = [
            ("kind", filter.kind.clone()),
            ("project", filter.project.clone()),
            ("state", filter.state.map(|state| state.as_str().to_owned())),
            ("name", filter.name.clone()),
            ("tenant", filter.tenant.as_ref().map(ToString::to_string)),
            ("sort", Some(word(filter.sort))),
            ("order", Some(word(filter.order))),
            ("cursor", filter.cursor.clone()),
        ];
        for (name, value) in given {
            request = value.into_iter().fold(request, |request, value| request.with_query(name, value));
        }
        self.json(request).await
    }

    /// The kinds of sandboxes that the service has.
    pub async fn kinds(&self) -> Result<SandboxKinds> {
        self.json(Request::new(Method::GET, "/v1/kinds")).await
    }

    /// Whether the service is up, and what it says of itself. Needs no key.
    pub async fn health(&self) -> Result<Value> {
        self.json(Request::new(Method::GET, "/health")).await
    }

    /// Sends JSON to a route that has no method here, and reads JSON; null where the answer is empty.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = Request::new(method, path);
        let request = match body {
            Some(body) => request.with_json(body)?,
            None => request,
        };
        self.json_or_nothing(request).await
    }
}

/// Makes connections, which a TLS connector then uses for both schemes.
fn http_connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector
}

/// A word of the wire.
fn word(value: impl Serialize) -> String {
    json!(value).as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::Client;

    #[test]
    fn a_client_is_made_of_a_url_and_a_key() {
        let client = Client::new("http://127.0.0.1:8787/", "key").unwrap();
        assert_eq!(client.url(), "http://127.0.0.1:8787");
        assert!(!format!("{client:?}").contains("key"));
        for (url, key) in [("127.0.0.1:8787", "k"), ("ftp://x", "k"), ("", "k"), ("http://x", ""), ("http://x", "a b")] {
            assert!(Client::new(url, key).is_err(), "{url} {key}");
        }
    }
}
