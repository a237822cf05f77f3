//! `GET /v1/kinds`.

use serde::{Deserialize, Serialize};

use super::{Instance, Resources};

/// The kinds of sandboxes that the deployment has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SandboxKinds {
    /// In the order of their names.
    #[serde(rename = "items")]
    pub kinds: Vec<SandboxKind>,
}

/// A kind of sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SandboxKind {
    /// Its name, with which its sandboxes' ids begin.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The Dockerfile that its image is built from, or the image.
    pub image: String,
    /// How large its sandboxes are, unless they ask for another size.
    pub instance: Instance,
    /// What that amounts to.
    #[serde(flatten)]
    pub resources: Resources,
    /// How long its sandboxes stay up that nobody asks anything, in milliseconds, where they do not say so themselves; absent: as long as
    /// the deployment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep_after_ms: Option<u64>,
}
