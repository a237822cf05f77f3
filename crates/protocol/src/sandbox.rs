//! Control of a sandbox: answered by its Durable Object, not by the agent.

mod archive;
mod instance;
mod kind;
mod labels;
mod list;
mod root;
mod setup;
mod snapshot;

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

pub use archive::{Archive, ArchiveId, Archives, CreateArchive, MAX_ARCHIVES, MAX_EXCLUDES, RestoreArchive};
pub use instance::{Instance, Resources, Size};
pub use kind::{SandboxKind, SandboxKinds};
pub use labels::{Labels, MAX_LABELS, check_labels};
pub use list::{ListSandboxes, MAX_LIMIT, Order, Sandboxes, Sort};
pub use root::{MAX_ROOTS, Root, check_roots};
pub use setup::{Setup, SetupEvent, SetupState};
pub use snapshot::{
    CreateSnapshot, ForkSandbox, Forks, MAX_FORKS, MAX_SNAPSHOT_NAME, MAX_SNAPSHOTS, Origin, Snapshot, SnapshotId, Snapshots,
    Upgraded,
};

use crate::{SandboxId, Tenant, exec::Command, git::Credentials, network::Network, project::ProjectName};

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
    /// Variables for every command in the sandbox, on top of those of its image, kind and project; null takes one of these away. They may
    /// hold secrets, and are not shown again. At most 64 KiB of names and values. Names that begin with `CABANA_` are refused.
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
    /// What it reaches outside. Default: everything, where the deployment has internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// The directories that file operations reach; relative paths and commands begin at the first. Which ones are allowed, the kind says; none
    /// holds another. Default: as its kind says, which is `/workspace` where it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<Vec<Root>>,
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
    /// See [`Sandbox::ephemeral`]. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<bool>,
    /// See [`Sandbox::snapshot_every_ms`]. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_every_ms: Option<u64>,
    /// See [`Sandbox::keep_snapshots`]. Default: none is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_snapshots: Option<u32>,
    /// See [`Sandbox::keep_snapshots_ms`]. Default: until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_snapshots_ms: Option<u64>,
    /// A command that is run in the sandbox before its files are saved and its container ends, for at most 60 s. Its failure keeps nothing from
    /// being saved. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_sleep: Option<Command>,
    /// The files that it begins with. Default: those of its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Origin>,
}

/// `PATCH /v1/sandboxes/{id}`: changes what is named, and nothing else; null resets to the default. Setting what is set already changes
/// nothing, and no timer begins anew. Wakes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateSandbox {
    /// Labels to set; null takes one away, and those that are not named stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// Variables to set; those that are not named stay. Null takes one away, also one of the image, kind or project; `env: null` forgets all
    /// that the sandbox has set. New commands and sessions get them at once; what runs keeps what it has.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub env: Option<Option<BTreeMap<String, Option<String>>>>,
    /// See [`CreateSandbox::network`]: all rules, in place of those before. Of a sandbox that runs with rules, other rules hold at once; whether
    /// there are rules, and internet at all, is decided at each start.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub network: Option<Option<Network>>,
    /// See [`Sandbox::sleep_after_ms`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub sleep_after_ms: Option<Option<u64>>,
    /// See [`Sandbox::keep_alive`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<Option<bool>>,
    /// See [`Sandbox::max_lifetime_ms`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub max_lifetime_ms: Option<Option<u64>>,
    /// See [`Sandbox::ephemeral`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<Option<bool>>,
    /// See [`Sandbox::snapshot_every_ms`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub snapshot_every_ms: Option<Option<u64>>,
    /// See [`Sandbox::keep_snapshots`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub keep_snapshots: Option<Option<u32>>,
    /// See [`Sandbox::keep_snapshots_ms`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub keep_snapshots_ms: Option<Option<u64>>,
    /// See [`CreateSandbox::before_sleep`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub before_sleep: Option<Option<Command>>,
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Shortest and longest [`Sandbox::sleep_after_ms`] and [`Sandbox::max_lifetime_ms`]: 1 s to 365 days.
pub const SPAN_MS: RangeInclusive<u64> = 1_000..=365 * 24 * 3_600_000;

/// Shortest and longest [`Sandbox::snapshot_every_ms`]: 1 minute to 1 day.
pub const SNAPSHOT_EVERY_MS: RangeInclusive<u64> = 60_000..=24 * 3_600_000;

/// Shortest and longest [`Sandbox::keep_snapshots_ms`]: 1 minute to 365 days.
pub const KEEP_SNAPSHOTS_MS: RangeInclusive<u64> = 60_000..=365 * 24 * 3_600_000;

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
    /// What it reaches outside; absent where nobody has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// The directories that its file operations reach; absent where they are those of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<Vec<Root>>,
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
    /// Whether its files go with its container. Otherwise a snapshot of them is taken before the container ends, and the next start begins with
    /// it: files, permissions, owners and links are as they were; processes, sessions, `/run` and mounted file systems are not.
    #[serde(default)]
    pub ephemeral: bool,
    /// How often its files are saved while it is used, in milliseconds: what a crash loses at most. Absent: only when its container ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_every_ms: Option<u64>,
    /// How many snapshots its list keeps, 1 to 64: a further one takes the place of the oldest. Absent: none is forgotten, and a full list takes no
    /// more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_snapshots: Option<u32>,
    /// How long its list keeps a snapshot, in milliseconds, 1 minute to 365 days. Absent: until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_snapshots_ms: Option<u64>,
    /// The snapshot that its files came from: the last that was taken of it or restored in it, or that it was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// When the snapshot was begun that the next start begins with, RFC 3339 in UTC; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_at: Option<String>,
    /// What was written after this instant, RFC 3339 in UTC, if anything, was lost: a container has ended before its files were saved, or a
    /// snapshot was missing. It stays after the sandbox has come up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_since: Option<String>,
    /// Why the last snapshot failed; absent once one has succeeded. Meanwhile the sandbox stays up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_failure: Option<SnapshotFailure>,
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

/// A snapshot that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SnapshotFailure {
    /// What the platform says about it.
    pub message: String,
    /// When it failed, RFC 3339 in UTC.
    pub at: String,
    /// When the next one is tried at the earliest, RFC 3339 in UTC. A stop tries at once.
    pub retry_at: String,
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
    #[serde(rename = "items")]
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
#[serde(tag = "type", rename_all = "snake_case")]
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
    /// The platform had no container for it.
    NoCapacity {
        /// What the platform says about it.
        message: String,
    },
    /// The platform starts no more containers for a while.
    RateLimited {
        /// What the platform says about it.
        message: String,
    },
    /// The platform's container service did not do its part: it was not reachable, or had to replace a machine.
    PlatformUnavailable {
        /// What the platform says about it.
        message: String,
    },
    /// It was to end, and stays up because its files could not be saved.
    SnapshotFailed {
        /// What the platform says about it.
        message: String,
    },
    /// Its lifetime was over.
    Expired,
    /// Its owner destroyed it.
    DestroyedByCaller,
}

impl Reason {
    /// What an error's details say of it: `reason`, and in `cause` what the platform says.
    pub fn details(&self) -> Value {
        let (Self::Crashed { message }
        | Self::StartFailed { message }
        | Self::SnapshotFailed { message }
        | Self::NoCapacity { message }
        | Self::RateLimited { message }
        | Self::PlatformUnavailable { message }) = self
        else {
            return json!({ "reason": self.word() });
        };
        json!({ "reason": self.word(), "cause": message })
    }

    fn word(&self) -> Value {
        json!(self)["type"].take()
    }

    /// Whether something went wrong.
    pub const fn is_failure(&self) -> bool {
        self.is_crash() || matches!(self, Self::NoCapacity { .. } | Self::RateLimited { .. } | Self::PlatformUnavailable { .. })
    }

    /// Whether the sandbox itself went wrong, and not the platform. A sandbox that crashes again and again is started less and less often.
    pub const fn is_crash(&self) -> bool {
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
