//! A client of the service's HTTP API.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;
use ureq::Agent;
use ureq::http::Response;

/// Longest wait for a response; a first exec includes the start of a sandbox.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A client with one key.
pub(super) struct Client {
    agent: Agent,
    url: String,
    api_key: String,
}

impl Client {
    pub(super) fn new(url: &str, api_key: &str) -> Self {
        let config = Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        Self { agent: config.into(), url: url.to_owned(), api_key: api_key.to_owned() }
    }

    pub(super) fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Creates a sandbox and returns its id.
    pub(super) fn create(&self) -> Result<String> {
        text(&self.post("/v1/sandboxes", &json!({}))?, "id")
    }

    /// Runs a shell command in a sandbox. Fails unless it exits with 0.
    pub(super) fn exec(&self, sandbox: &str, command: &str) -> Result<()> {
        let result = self.post(&format!("/v1/sandboxes/{sandbox}/exec"), &json!({ "command": command }))?;
        match result["exit"]["code"].as_i64() {
            Some(0) => Ok(()),
            _ => bail!("{command} failed: {result}"),
        }
    }

    /// Destroys a sandbox.
    pub(super) fn destroy(&self, sandbox: &str) -> Result<()> {
        let path = format!("/v1/sandboxes/{sandbox}");
        let request = self.agent.delete(format!("{}{path}", self.url)).header("authorization", self.authorization());
        check(request.call().with_context(|| format!("DELETE {path}"))?, &path).map(drop)
    }

    /// Sends JSON and reads JSON.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.url)).header("authorization", self.authorization());
        let mut response = check(request.send_json(body).with_context(|| format!("POST {path}"))?, path)?;
        Ok(response.body_mut().read_json()?)
    }

    /// Calls a path that does not exist, so that the gateway responds by itself. Returns whether it waited for the database.
    pub(super) fn call_nothing(&self, token: &str) -> Result<bool> {
        let request = self.agent.get(format!("{}/v1/nowhere", self.url)).header("authorization", format!("Bearer {token}"));
        let mut response = request.call()?;
        if response.status() != 404 {
            bail!("the gateway responded with {}, not 404", response.status());
        }
        response.body_mut().read_to_vec()?;
        Ok(response.headers().contains_key("server-timing"))
    }

    /// Reads a page of a preview to its end, whatever the resolver makes of the host. Returns its size in bytes.
    pub(super) fn visit(&self, host: &str, path: &str) -> Result<u64> {
        let request = self.agent.get(format!("{}{path}", self.url)).header("host", host);
        let mut response = check(request.call().with_context(|| format!("visit {host}"))?, path)?;
        Ok(std::io::copy(&mut response.body_mut().as_reader(), &mut std::io::sink())?)
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.api_key)
    }
}

/// A field of a response that must be text.
pub(super) fn text(value: &Value, field: &str) -> Result<String> {
    value[field].as_str().map(str::to_owned).with_context(|| format!("{value} has no field {field}"))
}

/// Makes an error of a status that is none of success.
fn check(mut response: Response<ureq::Body>, path: &str) -> Result<Response<ureq::Body>> {
    if !response.status().is_success() {
        bail!("{path}: {}: {}", response.status(), response.body_mut().read_to_string()?);
    }
    Ok(response)
}
