//! The variables of a sandbox's commands, and where each comes from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /v1/sandboxes/{id}/env`: the variables that a new command of the sandbox gets, without those of its session and its own. Wakes
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VariableList {
    /// The variables, by name. One that the sandbox, its project or its kind unsets is absent.
    pub items: Vec<Variable>,
    /// Whether the image's variables are among them. They are known only while the sandbox runs.
    pub has_image: bool,
}

/// A variable, as `GET /v1/sandboxes/{id}/env` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; absent where it may be secret: that of a project's or sandbox's variable, and of one whose name says so (`…KEY…`,
    /// `…TOKEN…`, `…SECRET…`, `…PASS…`, `…CREDENTIAL…`, `…AUTH…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Which of them sets it.
    pub origin: Origin,
}

/// Who sets a variable. Each comes on top of those before it; on top of all are those of the session and of the `exec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The image, or the user that commands run as.
    Image,
    /// The sandbox's kind.
    Kind,
    /// The project that the sandbox was made for.
    Project,
    /// The sandbox itself.
    Sandbox,
}

/// Changes of variables, by name: null takes one away.
pub type VariableChanges = BTreeMap<String, Option<String>>;

/// What a Durable Object tells the agent with `PUT /v1/env`: what new commands and sessions get on top of the image's variables, in place
/// of what they got before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetVariables {
    /// Grows with each change; one that comes late, behind a later one, is ignored.
    pub version: u64,
    /// The changes.
    pub env: VariableChanges,
}

/// What the agent answers to `GET /v1/env`: the image's variables, as far as they are text, with those of the user that commands run as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageVariables {
    /// By name.
    pub env: BTreeMap<String, String>,
}
