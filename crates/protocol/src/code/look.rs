//! Looking at code and at what a context has shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Bundle;
use crate::Operation;

/// Says how code may go on at a place, as the kernel knows it: names, attributes, paths. Also while a cell runs, where the kernel can.
///
/// Fails with `not_found`, `gone`, `conflict` (the kernel has ended), `payload_too_large`, `timeout` (the kernel is busy and does not answer).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Complete {
    /// The context, by its id or name.
    pub context: String,
    /// The code, at most 1 MiB.
    pub code: String,
    /// The place, in characters from the beginning. Default: the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u32>,
}

impl Operation for Complete {
    const NAME: &'static str = "code.complete";
    const IDEMPOTENT: bool = true;
    type Response = Completions;

    fn summary(&self) -> String {
        self.context.clone()
    }
}

/// How code may go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Completions {
    /// What may stand between `cursor_start` and `cursor_end`, at most 1,000.
    #[serde(rename = "items")]
    pub matches: Vec<String>,
    /// The first character that one of them replaces.
    pub cursor_start: u32,
    /// The character behind the last.
    pub cursor_end: u32,
}

/// Says what stands at a place in code, as the kernel knows it: signature, type, documentation. Also while a cell runs, where the kernel can.
///
/// Fails with `not_found`, `gone`, `conflict` (the kernel has ended), `payload_too_large`, `timeout` (the kernel is busy and does not answer).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Inspect {
    /// The context, by its id or name.
    pub context: String,
    /// The code, at most 1 MiB.
    pub code: String,
    /// The place, in characters from the beginning. Default: the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u32>,
    /// Whether the source is wanted too. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detail: bool,
}

impl Operation for Inspect {
    const NAME: &'static str = "code.inspect";
    const IDEMPOTENT: bool = true;
    type Response = Inspection;

    fn summary(&self) -> String {
        self.context.clone()
    }
}

/// What stands at a place in code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Inspection {
    /// Whether the kernel knows it.
    pub found: bool,
    /// What it says, without colors.
    pub data: Bundle,
}

/// Gives the cells of a context, with what they have shown, as a notebook of Jupyter (nbformat 4.5).
///
/// Fails with `not_found`, `gone`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Export {
    /// The context, by its id or name.
    pub context: String,
}

impl Operation for Export {
    const NAME: &'static str = "code.export";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Notebook;

    fn summary(&self) -> String {
        self.context.clone()
    }
}

/// A notebook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Notebook {
    /// The content of an `.ipynb` file.
    pub notebook: Value,
    /// True when more was shown than is kept of a context: 4 MiB. The oldest outputs are missing then.
    pub truncated: bool,
}
