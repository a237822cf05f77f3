//! The few calls by which `dev` shows that the service works.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;
use ureq::Agent;

/// Longest wait for one answer; a first exec includes the start of a sandbox.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest wait for the answer to a health check.
const HEALTH: Duration = Duration::from_secs(2);
/// Longest wait for a sandbox to stop.
const SAVE: Duration = Duration::from_secs(25);

/// A client of one service with one key.
pub(crate) struct Client {
    agent: Agent,
    url: String,
    api_key: String,
}

impl Client {
    pub(crate) fn new(url: &str, api_key: &str) -> Self {
        let config = Agent::config_builder().timeout_global(Some(ANSWER)).http_status_as_error(false).build();
        Self { agent: config.into(), url: url.to_owned(), api_key: api_key.to_owned() }
    }

    /// Whether the service answers its health check.
    pub(crate) fn is_healthy(&self) -> bool {
        let request = self.agent.get(format!("{}/health", self.url)).config().timeout_global(Some(HEALTH)).build();
        request.call().is_ok_and(|response| response.status() == 200)
    }

    /// Whether the service knows the key.
    pub(crate) fn is_admitted(&self) -> bool {
        let request = self.agent.get(format!("{}/v1/sandboxes/sbx-nobody", self.url));
        let request = request.header("authorization", self.authorization());
        request.config().timeout_global(Some(HEALTH)).build().call().is_ok_and(|response| response.status() != 401)
    }

    /// Creates a sandbox and gives its id.
    pub(crate) fn create(&self) -> Result<String> {
        let sandbox = self.post("/v1/sandboxes", &json!({})).context("create a sandbox")?;
        sandbox["id"].as_str().map(str::to_owned).with_context(|| format!("the new sandbox has no id: {sandbox}"))
    }

    /// Runs a shell command in a sandbox and gives its standard output; a failed command is an error.
    pub(crate) fn exec(&self, sandbox: &str, command: &str) -> Result<String> {
        let path = format!("/v1/sandboxes/{sandbox}/exec");
        let result = self.post(&path, &json!({ "command": command })).with_context(|| format!("run {command}"))?;
        match (result["exit"]["code"].as_i64(), result["stdout"].as_str()) {
            (Some(0), Some(stdout)) => Ok(stdout.to_owned()),
            _ => bail!("{command} did not succeed: {result}"),
        }
    }

    /// Destroys a sandbox.
    pub(crate) fn destroy(&self, sandbox: &str) -> Result<()> {
        let request = self.agent.delete(format!("{}/v1/sandboxes/{sandbox}", self.url));
        let mut response = request.header("authorization", self.authorization()).call().context("destroy the sandbox")?;
        if !response.status().is_success() {
            bail!("destroy the sandbox: {}: {}", response.status(), response.body_mut().read_to_string()?);
        }
        Ok(())
    }

    /// The ids of the sandboxes that run, each with its tenant.
    pub(crate) fn running(&self) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for state in ["running", "stopping"] {
            let mut cursor = String::new();
            loop {
                let page = self.get(&format!("/v1/sandboxes?limit=1000&state={state}{cursor}"))?;
                let text = |sandbox: &Value, name: &str| sandbox[name].as_str().unwrap_or_default().to_owned();
                let sandboxes = page["items"].as_array().into_iter().flatten();
                found.extend(sandboxes.map(|sandbox| (text(sandbox, "id"), text(sandbox, "tenant"))));
                match page["cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
        }
        Ok(found)
    }

    /// Stops a tenant's sandbox, which saves its files; returns when it sleeps.
    pub(crate) fn stop(&self, sandbox: &str, tenant: &str) -> Result<()> {
        let request = self.agent.post(format!("{}/v1/sandboxes/{sandbox}/stop", self.url));
        let request = request.header("authorization", self.authorization()).header("x-cabana-tenant", tenant);
        let mut response = request.config().timeout_global(Some(SAVE)).build().send_empty().context("stop the sandbox")?;
        if !response.status().is_success() {
            bail!("{}: {}", response.status(), response.body_mut().read_to_string()?);
        }
        Ok(())
    }

    fn get(&self, path: &str) -> Result<Value> {
        let request = self.agent.get(format!("{}{path}", self.url)).header("authorization", self.authorization());
        let mut response = request.call()?;
        if !response.status().is_success() {
            bail!("{}: {}", response.status(), response.body_mut().read_to_string()?);
        }
        Ok(response.body_mut().read_json()?)
    }

    /// Sends JSON and reads JSON; an error of the service is one here.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.url)).header("authorization", self.authorization());
        let mut response = request.send_json(body)?;
        if !response.status().is_success() {
            bail!("{}: {}", response.status(), response.body_mut().read_to_string()?);
        }
        Ok(response.body_mut().read_json()?)
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.api_key)
    }
}
