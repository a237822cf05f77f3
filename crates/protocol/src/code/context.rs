//! Contexts: creating, listing, interrupting, restarting and deleting them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Operation, exec::Exit, file::Done};

/// Starts a context: a kernel for a language, whose variables and imports live from one cell to the next.
///
/// Answers once the kernel is ready. Dropping the request ends it again.
///
/// Fails with `unprocessable` (no kernel for the language is installed, or the kernel does not start), `invalid_request`, `conflict` (a context of this
/// name has other settings), `not_found` (no such directory or user), `forbidden`, `too_many_requests`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Create {
    /// `python`, `javascript`, `typescript`, or the language or name of any kernel that is installed. Default: `python`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What to call it, beside its id: 1 to 64 characters of `[A-Za-z0-9._-]`. While a context of this name lives, the same request finds
    /// it, and a request that names other settings is a `conflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where its code runs; relative paths start at the sandbox's first root. Default: that root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables on top of the sandbox's; `null` unsets one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
    /// Who it runs as, as for `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl Operation for Create {
    const NAME: &'static str = "code.create";
    type Response = Context;

    fn summary(&self) -> String {
        self.language.clone().unwrap_or_default()
    }

    fn secrets(&self) -> Vec<&str> {
        self.env.values().flatten().map(String::as_str).collect()
    }
}

/// A context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Context {
    /// Its id.
    pub context: String,
    /// Its name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its language.
    pub language: String,
    /// The name of its kernel's specification.
    pub kernel: String,
    /// True for the one that runs cells of its language which name no context.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What its kernel does.
    pub state: ContextState,
    /// The kernel's process, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How the kernel ended, where it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The number of the last cell, since the kernel's start.
    pub execution_count: u32,
    /// Cells that wait for their turn.
    pub queued: u32,
    /// When it was created, RFC 3339 in UTC.
    pub created_at: String,
    /// When it was last used, RFC 3339 in UTC.
    pub last_used_at: String,
}

/// What a context's kernel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ContextState {
    /// It starts.
    Starting,
    /// It waits for a cell.
    Idle,
    /// It runs a cell.
    Busy,
    /// It has ended, and its variables are gone; `code.restart` starts another one.
    Ended,
}

/// Lists the contexts that live, by their creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct List {}

impl Operation for List {
    const NAME: &'static str = "code.list";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    const ASLEEP: Option<&'static str> = Some(r#"{"items":[],"kernels":[]}"#);
    type Response = Contexts;
}

/// Some contexts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Contexts {
    /// The contexts.
    #[serde(rename = "items")]
    pub contexts: Vec<Context>,
    /// The names of the kernels that are installed.
    #[serde(default)]
    pub kernels: Vec<String>,
}

/// Interrupts the cell that a context runs, as Ctrl-C does; its variables are kept. Answers at once, and the cell's own answer says how it ended.
///
/// Fails with `not_found`, `gone`, `conflict` (its kernel has ended).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interrupt {
    /// Its id or name.
    pub context: String,
}

impl Operation for Interrupt {
    const NAME: &'static str = "code.interrupt";
    const IDEMPOTENT: bool = true;
    type Response = Interrupted;

    fn summary(&self) -> String {
        self.context.clone()
    }
}

/// What an interrupt met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interrupted {
    /// Whether a cell ran.
    pub running: bool,
}

/// Ends a context's kernel and starts another one: its variables are gone, its id and settings stay. The cell that runs ends as `cancelled`.
///
/// Fails with `not_found`, `gone`, `unprocessable` (the kernel does not start).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Restart {
    /// Its id or name.
    pub context: String,
}

impl Operation for Restart {
    const NAME: &'static str = "code.restart";
    type Response = Context;

    fn summary(&self) -> String {
        self.context.clone()
    }
}

/// Ends a context: its kernel and whatever that started. The cell that runs, and those that wait, end as `cancelled`. Answers when all of
/// that is gone.
///
/// Fails with `not_found`, `gone`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Delete {
    /// Its id or name.
    pub context: String,
}

impl Operation for Delete {
    const NAME: &'static str = "code.delete";
    type Response = Done;

    fn summary(&self) -> String {
        self.context.clone()
    }
}
