//! Control of a sandbox: answered by its Durable Object, not by the agent.

mod labels;
mod list;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use labels::{Labels, MAX_LABELS, check_labels};
pub use list::{ListSandboxes, MAX_LIMIT, Order, Sandboxes, Sort};

use crate::{SandboxId, Tenant};

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
    /// What the sandbox is to be found by, see `GET /v1/sandboxes`. At most 32; a name has 1 to 63 characters of `[A-Za-z0-9._/-]`, a value
    /// at most 256 bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}

/// `PATCH /v1/sandboxes/{id}`: changes what is named, and nothing else. Wakes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateSandbox {
    /// Labels to set; null takes one away, and those that are not named stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
}

/// A sandbox, as everything shows it that shows sandboxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sandbox {
    /// Its id, the key to everything else.
    pub id: SandboxId,
    /// Whose it is.
    #[serde(default)]
    pub tenant: Tenant,
    /// Which image it runs.
    pub kind: String,
    /// The project that it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What it is found by.
    #[serde(default)]
    pub labels: Labels,
    /// Where it is in its life.
    pub state: State,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// When its state or anything else of it last changed, RFC 3339 in UTC.
    #[serde(default)]
    pub updated_at: String,
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

impl State {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Sleeping => "sleeping",
            Self::Failed => "failed",
            Self::Destroyed => "destroyed",
        }
    }
}
