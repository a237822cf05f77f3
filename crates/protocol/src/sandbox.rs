//! Control of a sandbox: answered by its Durable Object, not by the agent.

mod instance;
mod kind;
mod labels;
mod list;
mod setup;

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::{Deserialize, Deserializer, Serialize};

pub use instance::{Instance, Resources, Size};
pub use kind::{SandboxKind, SandboxKinds};
pub use labels::{Labels, MAX_LABELS, check_labels};
pub use list::{ListSandboxes, MAX_LIMIT, Order, Sandboxes, Sort};
pub use setup::{Setup, SetupEvent, SetupState};

use crate::{SandboxId, Tenant, git::Credentials, project::ProjectName};

/// `POST /v1/sandboxes`: makes a sandbox, or finds the one of that name. Its container starts with its first operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateSandbox {
    /// The part of the id after the kind. Creating twice under one name gives the same sandbox. Default: drawn at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which kind of sandbox, see `GET /v1/kinds`. Default: `sbx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Variables for every command in the sandbox, on top of its image's; null takes one of the image's away. They may hold secrets,
    /// and are not shown again. Names that begin with `CABANA_` are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
    /// Makes it a sandbox of this project: of its kind, with its variables, with its repository in it, and ready as its setup makes it.
    /// The answer comes when that is done; `Accept: application/x-ndjson` and `text/event-stream` tell how it goes. Where it fails the
    /// sandbox is there all the same: the same request, by its name, goes on where it failed, and what is done is not done again. A
    /// sandbox that belongs to no project joins this one. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// What the host of the project's repository is told, for this request; it is not stored. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// How large it is. Default: as its kind says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// What the sandbox is to be found by, see `GET /v1/sandboxes`. At most 32; a name has 1 to 63 characters of `[A-Za-z0-9._/-]`, a value
    /// at most 256 bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// See [`Sandbox::sleep_after_ms`]. Default: `CABANA_SLEEP_AFTER_MS` of the deployment, which is 10 min where it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep_after_ms: Option<u64>,
    /// See [`Sandbox::keep_alive`]. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<bool>,
    /// See [`Sandbox::max_lifetime_ms`]. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime_ms: Option<u64>,
}

/// `PATCH /v1/sandboxes/{id}`: changes what is named, and nothing else; null resets to the default. Setting what is set already changes
/// nothing, and no timer begins anew. Wakes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateSandbox {
    /// Labels to set; null takes one away, and those that are not named stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// See [`CreateSandbox::env`]: all variables, in place of those before. They hold from the next start on.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub env: Option<Option<BTreeMap<String, Option<String>>>>,
    /// See [`Sandbox::sleep_after_ms`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub sleep_after_ms: Option<Option<u64>>,
    /// See [`Sandbox::keep_alive`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<Option<bool>>,
    /// See [`Sandbox::max_lifetime_ms`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub max_lifetime_ms: Option<Option<u64>>,
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Shortest and longest [`Sandbox::sleep_after_ms`] and [`Sandbox::max_lifetime_ms`]: 1 s to 365 days.
pub const SPAN_MS: RangeInclusive<u64> = 1_000..=365 * 24 * 3_600_000;

/// A sandbox, as everything shows it that shows sandboxes. In lists it is as old as its last change of state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sandbox {
    /// Its id, the key to everything else.
    pub id: SandboxId,
    /// Whose it is.
    #[serde(default)]
    pub tenant: Tenant,
    /// Which kind of sandbox it is.
    pub kind: String,
    /// The project that it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// How far it is on its way to be what its project wants; absent where it belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<Setup>,
    /// How large it is; absent where the deployment's containers have one size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// What it is found by.
    #[serde(default)]
    pub labels: Labels,
    /// Where it is in its life.
    pub state: State,
    /// How it came there; absent for one that was never used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<Reason>,
    /// Since when it is there, RFC 3339 in UTC.
    #[serde(default)]
    pub since: String,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// When its state or anything else of it last changed, RFC 3339 in UTC.
    #[serde(default)]
    pub updated_at: String,
    /// How many times it was started.
    #[serde(default)]
    pub starts: u64,
    /// How long it stays up while nobody asks anything of it, in milliseconds: an operation that is under way, a stream that is open, an
    /// upload and the requests of a preview keep it up; a detached process that runs, an idle WebSocket, and operations that only look
    /// (`process.list` and the like) do not.
    #[serde(default)]
    pub sleep_after_ms: u64,
    /// Whether it stays up all the same, until it is stopped, destroyed, or its lifetime is over.
    #[serde(default)]
    pub keep_alive: bool,
    /// How long after it was made it is destroyed, in milliseconds, whatever runs in it; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime_ms: Option<u64>,
    /// When it will go to sleep, if nobody asks anything of it until then, RFC 3339 in UTC; absent while it is not up, is busy, or is kept
    /// alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleeps_at: Option<String>,
    /// When its lifetime is over, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Until when it is left alone because it has failed too often, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<String>,
    /// The last thing that went wrong. It stays after the sandbox has come up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// How often the sandbox's Durable Object has come into memory, and its alarm has gone off: what an idle sandbox costs.
    #[serde(default)]
    pub wakeups: Wakeups,
}

/// What went wrong, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// What went wrong.
    #[serde(flatten)]
    pub reason: Reason,
    /// RFC 3339 in UTC.
    pub at: String,
}

/// What brought a Durable Object to work besides requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Wakeups {
    /// How often it came into memory, for whatever cause.
    pub loads: u64,
    /// How often its alarm went off.
    pub alarms: u64,
}

/// What happened in a sandbox's life, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct History {
    /// The changes, oldest first.
    pub events: Vec<LifeEvent>,
}

/// A change in a sandbox's life, as `GET /v1/sandboxes/{id}/events` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LifeEvent {
    /// Its number; it only grows, and a gap means that events in between are no longer kept.
    pub id: u64,
    /// When it happened, RFC 3339 in UTC.
    pub at: String,
    /// The state that the sandbox came into.
    pub state: State,
    /// How.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// How a sandbox came into its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// Something was asked of it, or its owner started it.
    Woken,
    /// Nobody asked anything of it for its time.
    Idle,
    /// Its owner stopped it.
    StoppedByCaller,
    /// The platform ended its container, or it ended while nobody looked.
    Evicted,
    /// Its container ended by itself.
    Crashed {
        /// What the platform says about it.
        message: String,
    },
    /// Its agent did not answer any more.
    Unresponsive,
    /// Its container could not be started, or its agent did not come up.
    StartFailed {
        /// What is known about it.
        message: String,
    },
    /// Its lifetime was over.
    Expired,
    /// Its owner destroyed it.
    DestroyedByCaller,
}

impl Reason {
    /// Whether something went wrong.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Crashed { .. } | Self::Unresponsive | Self::StartFailed { .. })
    }
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
    /// Its container could not be started, or has failed; the next operation tries again.
    Failed,
    /// It is gone for good. Shown for a while where its lifetime was over.
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
