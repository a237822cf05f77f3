//! Shells that live between commands: what one `exec` does to its directory, variables, functions, aliases and options is there for
//! the next `exec` that names the session.
//!
//! A session from before the sandbox's last restart, one that was deleted, and one whose shell has ended is `gone`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Operation, file::Done};

/// Starts a session, or finds the one of its name: a shell that reads no startup files, in which `exec` then runs commands.
///
/// It is an interactive shell without a terminal: `$-` has an `i`, and aliases are expanded. Each command is run as a file that is
/// sourced: `return` ends it, and traps of DEBUG reach it only with `set -T`.
///
/// Fails with `invalid_request`, `conflict` (a session of this name has other settings), `not_found` (no such directory, user or shell), `forbidden` (the agent may not become the user),
/// `unprocessable` (the shell cannot be executed, or ends at once), `too_many_requests`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Create {
    /// What to call it, beside its id: 1 to 64 characters of `[A-Za-z0-9._-]`. While a session of this name lives, the same request finds
    /// it, and a request that names other settings is a `conflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it begins; relative paths start at the sandbox's first root. Default: that root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables on top of the sandbox's; `null` unsets one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
    /// Who it runs as, as for `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Which shell. Default: bash, or sh where there is no bash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Shell>,
    /// The `timeout_ms` of its commands that set none. Default: that of `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl Operation for Create {
    const NAME: &'static str = "session.create";
    type Response = Session;

    fn summary(&self) -> String {
        self.cwd.clone().unwrap_or_default()
    }

    fn secrets(&self) -> Vec<&str> {
        self.env.values().flatten().map(String::as_str).collect()
    }
}

/// A kind of shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// The image's `sh`: dash, BusyBox, or whatever it is.
    Sh,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Session {
    /// Its id.
    pub session: String,
    /// Its name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The `timeout_ms` of its commands that set none, where it is not that of `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Its shell.
    pub shell: Shell,
    /// The kernel's number for its shell.
    pub pid: u32,
    /// When it was created, RFC 3339 in UTC.
    pub created_at: String,
}

/// Lists the sessions that live, by their creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct List {}

impl Operation for List {
    const NAME: &'static str = "session.list";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    const ASLEEP: Option<&'static str> = Some(r#"{"items":[]}"#);
    type Response = Sessions;
}

/// Some sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sessions {
    /// The sessions.
    #[serde(rename = "items")]
    pub sessions: Vec<Session>,
}

/// Describes one session.
///
/// Fails with `not_found`, `gone`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Get {
    /// Its id or name.
    pub session: String,
}

impl Operation for Get {
    const NAME: &'static str = "session.get";
    const IDEMPOTENT: bool = true;
    const READ_ONLY: bool = true;
    type Response = Session;

    fn summary(&self) -> String {
        self.session.clone()
    }
}

/// Changes a session's directory and variables for the commands that follow, once those that came before have ended.
///
/// Fails with `invalid_request`, `not_found` (no such session or directory), `gone`, `too_many_requests`, `unprocessable` (the shell refuses:
/// a variable is read-only, for instance).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Update {
    /// Its id or name.
    pub session: String,
    /// Its directory from now on; relative paths start at the sandbox's first root. Default: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables to export; `null` unsets one, and those that are not named stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
}

impl Operation for Update {
    const NAME: &'static str = "session.update";
    const IDEMPOTENT: bool = true;
    type Response = Session;

    fn summary(&self) -> String {
        self.session.clone()
    }

    fn secrets(&self) -> Vec<&str> {
        self.env.values().flatten().map(String::as_str).collect()
    }
}

/// Ends a session: its shell and whatever that started, jobs in the background included. The exit of what runs in it is `cancelled`.
/// Processes started without it live on. Answers when all of that is gone.
///
/// Fails with `not_found`, `gone`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Delete {
    /// Its id or name.
    pub session: String,
}

impl Operation for Delete {
    const NAME: &'static str = "session.delete";
    type Response = Done;

    fn summary(&self) -> String {
        self.session.clone()
    }
}
