//! `GET /v1/sandboxes`.

use serde::{Deserialize, Serialize};

use super::{Sandbox, State};
use crate::Tenant;

/// Most sandboxes in one answer.
pub const MAX_LIMIT: u32 = 1_000;

/// `GET /v1/sandboxes`: what is asked for in the query, where `label` may come several times. All filters must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSandboxes {
    /// `name=value`, or a name alone: has that label, whatever its value.
    pub labels: Vec<(String, Option<String>)>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this project.
    pub project: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// Of this name, which sandboxes of several kinds may have.
    pub name: Option<String>,
    /// Of this tenant; for operators, who see all otherwise.
    pub tenant: Option<Tenant>,
    /// What to sort by; default `created_at`.
    pub sort: Sort,
    /// Which way; default `desc`.
    pub order: Order,
    /// How many in one answer, 1 to 1,000; default 100.
    pub limit: u32,
    /// Where to go on, from the answer before; the other parameters stay as they were.
    pub cursor: Option<String>,
}

/// What sandboxes are sorted by; the id decides between equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// When they were made.
    CreatedAt,
    /// When they last changed.
    UpdatedAt,
    /// Their ids.
    Id,
}

/// Which way sandboxes are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The smallest first.
    Asc,
    /// The largest first.
    Desc,
}

/// A page of sandboxes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sandboxes {
    /// In the order that was asked for, as they were when they last reported; what changes is known here a moment later.
    #[serde(rename = "items")]
    pub sandboxes: Vec<Sandbox>,
    /// Where the next page begins; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl Default for ListSandboxes {
    fn default() -> Self {
        Self {
            labels: Vec::new(),
            kind: None,
            project: None,
            state: None,
            name: None,
            tenant: None,
            sort: Sort::CreatedAt,
            order: Order::Desc,
            limit: 100,
            cursor: None,
        }
    }
}
