//! An example that runs.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Agent;

/// Longest wait for one answer: it includes the start of a sandbox.
const ANSWER: Duration = Duration::from_secs(120);

/// A running example.
pub(super) struct Site {
    agent: Agent,
    url: String,
    directory: PathBuf,
}

/// What it has answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Site {
    pub(super) fn new(url: &str, directory: &Path) -> Self {
        let config = Agent::config_builder().timeout_global(Some(ANSWER)).http_status_as_error(false).max_redirects(0).build();
        Self { agent: config.into(), url: url.to_owned(), directory: directory.to_owned() }
    }

    /// The run's directory, which goes with it.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The port of its URL.
    pub(super) fn port(&self) -> Result<u16> {
        let (_, port) = self.url.rsplit_once(':').context("the URL has no port")?;
        port.parse().context("the URL's port")
    }

    pub(super) fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", None, path, b"")
    }

    pub(super) fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Result<Answer> {
        self.send("POST", None, path, body.as_ref())
    }

    /// A request, for a host of this name where one is given.
    pub(super) fn send(&self, method: &str, host: Option<&str>, path: &str, body: &[u8]) -> Result<Answer> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let sent = self.agent.run(request.body(body)?).with_context(|| format!("{method} {path}"));
        let mut response = sent?;
        let location = response.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer { status: response.status().as_u16(), location, body: response.body_mut().read_to_vec()? })
    }
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: {}", self.status, self.text()))
    }
}
