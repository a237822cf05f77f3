//! Ports of a sandbox that are reached from outside: previews. Answered by its Durable Object, not by the agent.

use serde::{Deserialize, Serialize};

/// `POST /v1/sandboxes/{id}/ports`: gives a port of the sandbox a URL, or changes how it is reached. Wakes nothing, and nothing needs to
/// listen yet.
///
/// Asking again is harmless: what the request does not name stays as it is, the token and with it the URL included. The record lives in
/// the sandbox's Durable Object, so the URL outlasts its container's sleep and restarts, and goes with the sandbox.
///
/// Fails with `invalid_request` (a port, name or token that cannot be), and with `conflict` where the sandbox has as many as it may have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExposePort {
    /// The port, 1 to 65535, without 49983 to 49992: the agent's own and those reserved beside it.
    pub port: u16,
    /// What to call it, for people: at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who may visit it. Default: `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<PortAccess>,
    /// The secret part of the URL, with the access `token` only: at least 8 characters of `[a-z0-9]`, and so few that port, id and token
    /// fit into the 63 characters of a DNS label. Default: drawn at random, of at least 80 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When the URL stops working, in milliseconds from now, at most 366 days. Default: never, or as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// Whether a visit starts the container of a sandbox that has none. Default: true, and false with the access `public`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wakes: Option<bool>,
}

impl From<u16> for ExposePort {
    fn from(port: u16) -> Self {
        Self { port, ..Self::default() }
    }
}

/// Who may visit a port at its URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PortAccess {
    /// Everyone: the URL has no secret, and can be guessed from port and sandbox.
    Public,
    /// Whoever knows the URL, which has a secret in it.
    #[default]
    Token,
    /// Whoever may use the API on this sandbox: by `Authorization: Bearer`, or in a browser by `?token=`, which is exchanged for a cookie.
    Private,
}

/// A port that is reached from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExposedPort {
    /// The port.
    pub port: u16,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is visited. Absent where the deployment has no domain for previews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where the API passes requests on to it, for callers with credentials; needs no domain.
    pub path: String,
    /// Who may visit it.
    pub access: PortAccess,
    /// The secret part of the URL, with the access `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Whether a visit starts the container of a sandbox that has none.
    pub wakes: bool,
    /// When the URL stops working, RFC 3339 in UTC; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was exposed, RFC 3339 in UTC.
    pub created_at: String,
}

/// `GET /v1/sandboxes/{id}/ports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExposedPorts {
    /// The ports, by their number; those that have expired are gone.
    #[serde(rename = "items")]
    pub ports: Vec<ExposedPort>,
}
