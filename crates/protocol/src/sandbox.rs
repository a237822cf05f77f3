//! Control of a sandbox: answered by its Durable Object, not by the agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::SandboxId;

/// `POST /v1/sandboxes`: makes a sandbox, or finds the one of that name. Its container starts with its first operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateSandbox {
    /// The part of the id after the kind. Creating twice under one name gives the same sandbox. Default: drawn at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which image to run: an image name of wrangler.jsonc. Default: `sbx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Variables for every command in the sandbox, on top of its image's; null takes one of the image's away. They may hold secrets,
    /// and are not shown again. Names that begin with `CABANA_` are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
}

/// A sandbox, as `POST /v1/sandboxes` and `GET /v1/sandboxes/{id}` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sandbox {
    /// Its id, the key to everything else.
    pub id: SandboxId,
    /// Which image it runs.
    pub kind: String,
    /// Where it is in its life.
    pub state: State,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// Why the last start failed, while the state is `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Where a sandbox is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It exists; no container has been started yet.
    Created,
    /// Its container is on the way up.
    Starting,
    /// Its agent answers.
    Running,
    /// Its container is on the way down.
    Stopping,
    /// It has no container; the next operation starts one.
    Sleeping,
    /// The last start failed; the next operation tries again.
    Failed,
    /// It is gone for good.
    Destroyed,
}
