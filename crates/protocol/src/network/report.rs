//! What a sandbox's network rules are, and what they have done: `GET /v1/sandboxes/{id}/network`.

use serde::{Deserialize, Serialize};

use super::NetworkLayers;

/// The rules that hold for a sandbox, what they have let pass, and what they have not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkReport {
    /// The rules, each where it comes from. A request passes where all of them let it pass.
    pub rules: NetworkLayers,
    /// Whether the sandbox reaches anything at all, as far as its rules and the deployment say.
    pub internet: bool,
    /// Whether the container that runs was started with rules; absent where none runs. Where rules were added or taken away meanwhile, the
    /// next start follows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforced: Option<bool>,
    /// What was counted since the sandbox was made.
    pub counters: NetworkCounters,
    /// The last requests that were denied, the newest first: at most 50. They are known a second later.
    pub denials: Vec<Denial>,
}

/// How many requests have left a sandbox that has rules, or have tried to. Without rules nothing is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkCounters {
    /// Those that passed.
    pub allowed: u64,
    /// Those of them that got a secret.
    pub with_secrets: u64,
    /// Those that were denied.
    pub denied: u64,
}

/// Requests that were denied: one, or several that are the same and came within a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Denial {
    /// When the first came, RFC 3339 in UTC.
    pub at: String,
    /// Its method.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The host of its URL, with the port where it is not the usual one.
    pub host: String,
    /// The path of its URL, without the query; the first 200 characters.
    pub path: String,
    /// The bytes of their bodies, as announced.
    pub bytes: u64,
    /// The rule that denied it, or `none of network.allow`.
    pub rule: String,
    /// How many they were.
    pub count: u64,
}
