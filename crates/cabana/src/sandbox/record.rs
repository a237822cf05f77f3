//! What a sandbox remembers, and how callers see it.

use cabana_protocol::{
    Error, SandboxId, Tenant,
    exec::Command,
    network::Network,
    sandbox::{Failure, Instance, Labels, Root, Sandbox, Setup, SnapshotFailure, SnapshotId, Wakeups},
    variables::VariableChanges,
};
use serde::{Deserialize, Serialize};

use crate::{
    clock::rfc3339,
    lifecycle::{Deadline, Instant, Lifecycle, Rules},
};

/// One sandbox. It has no `Debug`: its variables and its secret belong into no log.
#[derive(Clone, PartialEq)]
pub(super) struct Record {
    pub(super) id: SandboxId,
    pub(super) kind: String,
    /// How large it is; `None`: as the platform likes.
    pub(super) instance: Option<Instance>,
    /// Whose it is.
    pub(super) tenant: Tenant,
    /// Variables for every command, null for one that it is not to see; may hold secrets.
    pub(super) env: VariableChanges,
    /// Those of its project, as they were when the sandbox was last set up.
    pub(super) project_env: VariableChanges,
    pub(super) network: NetworkRecord,
    /// Where its file operations reach; `None`: as its kind says.
    pub(super) roots: Option<Vec<Root>>,
    pub(super) labels: Labels,
    /// The project that it was made for.
    pub(super) project: Option<String>,
    /// How far it is on its way to be what the project wants.
    pub(super) setup: Option<Setup>,
    /// What is run in it before its files are saved and its container ends.
    pub(super) before_sleep: Option<Command>,
    /// The snapshot that its files came from.
    pub(super) snapshot: Option<SnapshotId>,
    pub(super) lifecycle: Lifecycle,
    /// What the agent of the present container asks for. Stored, so that an object that was evicted can still talk to it.
    pub(super) secret: String,
    /// How many containers were started; tells the present one from those before.
    pub(super) incarnation: u64,
    /// When anything that callers see of it was last changed.
    pub(super) updated_at: Instant,
    /// Grows with each change, see [`Entry::version`](crate::directory::Entry::version).
    pub(super) version: u64,
    pub(super) wakeups: Wakeups,
}

/// What a sandbox reaches outside.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NetworkRecord {
    /// What callers want; `None` where nobody has said.
    pub(super) wanted: Option<Network>,
    /// The rules of its project, as they were when the sandbox was last set up.
    pub(super) project: Option<Network>,
    /// Whether the present container was started with rules. Only then can rules be replaced while it runs.
    pub(super) is_ruled: bool,
}

impl Record {
    /// What callers see at this time. Variables are not shown.
    pub(super) fn describe(&self, rules: &Rules, now: Instant) -> Sandbox {
        let lifecycle = &self.lifecycle;
        let deadlines = lifecycle.deadlines(rules);
        let sleep_after = lifecycle.sleep_after(rules).as_millis();
        Sandbox {
            id: self.id.clone(),
            kind: self.kind.clone(),
            instance: self.instance,
            tenant: self.tenant.clone(),
            project: self.project.clone(),
            setup: self.setup.clone(),
            network: self.network.wanted.clone(),
            roots: self.roots.clone(),
            labels: self.labels.clone(),
            updated_at: rfc3339(self.updated_at),
            state: lifecycle.state,
            state_reason: lifecycle.reason.clone(),
            since: rfc3339(lifecycle.since),
            created_at: rfc3339(lifecycle.created_at),
            starts: lifecycle.starts,
            sleep_after_ms: u64::try_from(sleep_after).unwrap_or(u64::MAX),
            keep_alive: lifecycle.policy.keep_alive,
            max_lifetime_ms: lifecycle.policy.max_lifetime_ms,
            sleeps_at: deadlines.get(Deadline::Sleep).filter(|_| !lifecycle.is_busy()).map(rfc3339),
            expires_at: deadlines.get(Deadline::Expire).map(rfc3339),
            retry_at: lifecycle.retry_at(now).map(rfc3339),
            ephemeral: !lifecycle.keeps_files(rules),
            snapshot_every_ms: lifecycle.policy.snapshot_every_ms,
            keep_snapshots: lifecycle.policy.keep_snapshots,
            keep_snapshots_ms: lifecycle.policy.keep_snapshots_ms,
            snapshot: self.snapshot.clone(),
            saved_at: lifecycle.files.saved.as_ref().map(|saved| rfc3339(saved.at)),
            lost_since: lifecycle.files.lost_since.map(rfc3339),
            snapshot_failure: lifecycle.files.failure().map(|(message, at, retry_at)| SnapshotFailure {
                message: message.to_owned(),
                at: rfc3339(at),
                retry_at: rfc3339(retry_at),
            }),
            last_failure: lifecycle.failure.as_ref().map(|(reason, at)| Failure { reason: reason.clone(), at: rfc3339(*at) }),
            wakeups: self.wakeups,
        }
    }
}

/// A field as it is stored.
pub(super) fn encode(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::internal("a field of the sandbox cannot be encoded"))
}
