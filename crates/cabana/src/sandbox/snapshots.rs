//! The list of a sandbox's snapshots, and what is made of them. The platform lists none, so what is not in this list is lost to callers.

mod renewal;
mod retention;

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use cabana_protocol::{
    Code, Error, SandboxId,
    exec::Command,
    network::Network,
    sandbox::{CreateSandbox, CreateSnapshot, Instance, Labels, MAX_SNAPSHOTS, Root, Snapshot, SnapshotId, Snapshots},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use worker::{Method, Request, Response};

use super::{object::Object, store::not_found};
use crate::{
    Address, Handle, Kinds, Principal, RequestId,
    clock::{now, rfc3339},
    create, handle,
    lifecycle::{Event, Instant, Policy, Saved},
    random, reply,
    request::{decode, read_body},
    wire::{self, CONTROL_PATH},
};

/// How many of the sandboxes that began with a snapshot are remembered.
const REMEMBERED: usize = 64;

/// How long the platform keeps a snapshot that is not used.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// A snapshot in the list.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SnapshotRecord {
    pub(super) id: SnapshotId,
    name: Option<String>,
    pub(super) saved: Saved,
    parent: Option<SnapshotId>,
    /// When a sandbox was last told to begin with it.
    used_at: Instant,
    /// When it was last tried to use it only so that the platform keeps it.
    #[serde(default)]
    renewal_tried_at: Instant,
    /// The sandboxes that were made to begin with it.
    #[serde(default)]
    sandboxes: Vec<SandboxId>,
    /// The binding of the class in which it can be used.
    #[serde(default)]
    binding: String,
}

/// What another sandbox needs to begin with a snapshot.
#[derive(Serialize, Deserialize)]
pub(crate) struct Source {
    /// The kind of the sandbox that it was taken of.
    pub(super) kind: String,
    /// What the next start begins with.
    pub(super) saved: Saved,
    settings: Settings,
}

/// What a fork has of its origin.
#[derive(Serialize, Deserialize)]
struct Settings {
    env: BTreeMap<String, Option<String>>,
    instance: Option<Instance>,
    network: Option<Network>,
    /// The rules of its project.
    #[serde(default)]
    project_network: Option<Network>,
    roots: Option<Vec<Root>>,
    labels: Labels,
    before_sleep: Option<Command>,
    policy: Policy,
}

impl Source {
    /// The rules of the project of the origin, which hold for a fork, too.
    pub(super) fn project_network(&self) -> Option<Network> {
        self.settings.project_network.clone()
    }

    /// What the next start begins with.
    pub(super) fn into_saved(self) -> Saved {
        self.saved
    }

    /// The request, with what it does not say taken from the origin.
    pub(super) fn inherit(self, request: CreateSandbox) -> CreateSandbox {
        let Settings { env, instance, network, roots, labels, before_sleep, policy, .. } = self.settings;
        CreateSandbox {
            env,
            instance,
            network,
            roots,
            labels,
            before_sleep,
            sleep_after_ms: policy.sleep_after_ms,
            keep_alive: Some(policy.keep_alive),
            max_lifetime_ms: policy.max_lifetime_ms,
            ephemeral: Some(policy.ephemeral),
            snapshot_every_ms: policy.snapshot_every_ms,
            keep_snapshots: policy.keep_snapshots,
            keep_snapshots_ms: policy.keep_snapshots_ms,
            ..request
        }
    }
}

impl SnapshotRecord {
    fn new(id: SnapshotId, name: Option<String>, saved: Saved, parent: Option<SnapshotId>, binding: String) -> Self {
        let used_at = saved.at;
        Self { id, name, saved, parent, used_at, renewal_tried_at: Instant(0), sandboxes: Vec::new(), binding }
    }

    /// As callers see it, beside the others of its list.
    fn describe(&self, list: &[Self]) -> Result<Snapshot, Error> {
        let children = list.iter().filter(|other| other.parent.as_ref() == Some(&self.id));
        Ok(Snapshot {
            sandbox: self.id.sandbox()?,
            id: self.id.clone(),
            name: self.name.clone(),
            created_at: rfc3339(self.saved.at),
            expires_at: rfc3339(self.expires_at()),
            size_bytes: self.saved.size_bytes,
            parent: self.parent.clone(),
            children: children.map(|child| child.id.clone()).collect(),
            sandboxes: self.sandboxes.clone(),
        })
    }
}

/// Answers a request whose path, below the sandbox's snapshots, is `rest`.
pub(super) async fn answer(
    object: &Rc<Object>,
    mut request: Request,
    rest: &str,
    request_id: &RequestId,
) -> Result<Response, Error> {
    object.id()?;
    let (snapshot, verb) = match rest.trim_start_matches('/').split_once('/') {
        Some((snapshot, verb)) => (snapshot, verb),
        None => (rest.trim_start_matches('/'), ""),
    };
    match (request.method(), snapshot, verb) {
        (Method::Post, "", "") => {
            let asked: CreateSnapshot = decode(&read_body(&mut request, create::MAX_BODY_BYTES).await?)?;
            asked.check()?;
            Ok(reply::json(201, &object.snapshot(asked.name).await?, request_id))
        }
        (_, "", "") => Ok(reply::json(200, &object.snapshots()?, request_id)),
        (Method::Delete, id, "") => object.forget_snapshot(&id.parse()?).map(|()| reply::empty(request_id)),
        (Method::Post, id, "restore") => {
            object.restore(&id.parse()?).await?;
            Ok(reply::json(200, &object.supervisor.look().await?, request_id))
        }
        (Method::Get, id, "source") => {
            let url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
            let child = url.query_pairs().find(|(name, _)| name == "for").map(|(_, child)| child.parse()).transpose()?;
            Ok(reply::json(200, &object.source(&id.parse()?, child)?, request_id))
        }
        (_, id, "") => {
            let snapshot = object.find_snapshot(&id.parse()?)?;
            Ok(reply::json(200, &snapshot.describe(&object.snapshot_records()?)?, request_id))
        }
        _ => Err(Error::not_found("there is nothing of the snapshot here")),
    }
}

impl Object {
    /// Saves the files as they are now.
    ///
    /// Fails with `conflict` where the list is full, and as [`Supervisor::snapshot_now`](super::supervisor::Supervisor::snapshot_now) does.
    async fn snapshot(&self, name: Option<String>) -> Result<Snapshot, Error> {
        self.check_room()?;
        let (id, tenant) = (self.new_snapshot_id()?, self.store.record()?.tenant.clone());
        self.admission.take_for(&id, &tenant).await?;
        let entered = match self.supervisor.snapshot_now().await {
            Ok(saved) => self.enter_snapshot(id.clone(), name, saved),
            Err(error) => Err(error),
        };
        if entered.is_err() {
            self.give_place(&id);
        }
        entered?.describe(&self.snapshot_records()?)
    }

    fn new_snapshot_id(&self) -> Result<SnapshotId, Error> {
        Ok(SnapshotId::new(&self.id()?, &random::name()))
    }

    /// Gives the place of a snapshot among the tenant's back.
    fn give_place(&self, id: &SnapshotId) {
        if let Some(tenant) = self.store.owner() {
            self.supervisor.platform().state().wait_until(self.admission.give_for(id, tenant));
        }
    }

    /// The list, the newest first.
    pub(super) fn snapshot_records(&self) -> Result<Vec<SnapshotRecord>, Error> {
        self.store.rows().snapshots()
    }

    /// Forgets the snapshots that are too old, or too many where so many `more` are to come.
    pub(super) fn retain_snapshots(&self, more: usize) -> Result<(), Error> {
        let Some(lifecycle) = self.store.lifecycle() else { return Ok(()) };
        let list = self.snapshot_records()?;
        retention::superfluous(&list, &lifecycle.policy, more, now()).try_for_each(|snapshot| self.forget_snapshot(&snapshot.id))
    }

    /// Forgets all of them, as their sandbox goes.
    pub(super) fn give_snapshots(&self) -> Result<(), Error> {
        self.snapshot_records()?.iter().try_for_each(|snapshot| self.forget_snapshot(&snapshot.id))
    }

    /// When the list is to be looked at next.
    pub(super) fn snapshot_deadline(&self) -> Option<Instant> {
        let lifecycle = self.store.lifecycle()?;
        retention::next_look(&self.snapshot_records().ok()?, &lifecycle.policy)
    }

    /// Puts what was saved into the list. The files of the sandbox come from it now.
    fn enter_snapshot(&self, id: SnapshotId, name: Option<String>, saved: Saved) -> Result<SnapshotRecord, Error> {
        self.check_room()?;
        self.retain_snapshots(1)?;
        let mut parent = None;
        self.store.update(now(), |record| {
            parent = record.snapshot.replace(id.clone());
            Ok(())
        })?;
        let snapshot = SnapshotRecord::new(id, name, saved, parent, self.admission.way().1);
        self.store.rows().save_snapshot(&snapshot.id, snapshot.saved.at, &snapshot)?;
        self.supervisor.rearm();
        self.outbox.deliver();
        Ok(snapshot)
    }

    pub(super) fn check_room(&self) -> Result<(), Error> {
        let drops_oldest = self.store.lifecycle().is_some_and(|lifecycle| lifecycle.policy.keep_snapshots.is_some());
        if drops_oldest || self.snapshot_records()?.len() < MAX_SNAPSHOTS {
            return Ok(());
        }
        let message = format!("the sandbox has {MAX_SNAPSHOTS} snapshots already: delete one");
        Err(Error::new(Code::Conflict, message).with_details(json!({ "reason": "limit", "limit": MAX_SNAPSHOTS })))
    }

    fn snapshots(&self) -> Result<Snapshots, Error> {
        let all = self.snapshot_records()?;
        Ok(Snapshots { snapshots: all.iter().map(|snapshot| snapshot.describe(&all)).collect::<Result<_, _>>()? })
    }

    fn find_snapshot(&self, id: &SnapshotId) -> Result<SnapshotRecord, Error> {
        let found = self.store.rows().snapshot(id)?;
        found.ok_or_else(|| Error::not_found("there is no such snapshot of the sandbox").because("no_such_snapshot"))
    }

    fn forget_snapshot(&self, id: &SnapshotId) -> Result<(), Error> {
        if self.store.rows().snapshot::<SnapshotRecord>(id)?.is_some() {
            self.store.rows().remove_snapshot(id)?;
            self.give_place(id);
        }
        Ok(())
    }

    /// A snapshot that the platform still has. Fails with `not_found`, and with `gone` where it was not used for too long.
    fn find_kept(&self, id: &SnapshotId) -> Result<SnapshotRecord, Error> {
        let snapshot = self.find_snapshot(id)?;
        if snapshot.expires_at() > now() {
            return Ok(snapshot);
        }
        let message = format!("the platform keeps the snapshot no longer: it was last used {}", rfc3339(snapshot.used_at));
        Err(Error::new(Code::Gone, message).because("expired"))
    }

    /// Notes that a sandbox is to begin with a snapshot, which the platform keeps longer for that.
    fn use_snapshot(&self, id: &SnapshotId, child: Option<SandboxId>) -> Result<SnapshotRecord, Error> {
        let mut snapshot = SnapshotRecord { used_at: now(), ..self.find_kept(id)? };
        if let Some(child) = child.filter(|child| !snapshot.sandboxes.contains(child)) {
            snapshot.sandboxes.push(child);
            let excess = snapshot.sandboxes.len().saturating_sub(REMEMBERED);
            snapshot.sandboxes.drain(..excess);
        }
        self.store.rows().save_snapshot(id, snapshot.saved.at, &snapshot)?;
        Ok(snapshot)
    }

    /// Has the next start begin with a snapshot, once the files as they are now are in the list and the container has ended.
    async fn restore(&self, id: &SnapshotId) -> Result<(), Error> {
        self.find_kept(id)?;
        self.check_room()?;
        self.supervisor.stop().await?;
        // First: the list may have no room for both.
        let snapshot = self.use_snapshot(id, None)?;
        self.keep_present(&format!("before {id} was restored")).await?;
        self.supervisor.restore(snapshot.saved)?;
        self.store.update(now(), |record| {
            record.snapshot = Some(snapshot.id);
            Ok(())
        })?;
        self.outbox.deliver();
        Ok(())
    }

    /// Has the list keep the files of a sandbox that is down, unless it has them; gives the snapshot, unless nothing was saved.
    pub(super) async fn keep_present(&self, name: &str) -> Result<Option<Snapshot>, Error> {
        let Some(present) = self.store.lifecycle().ok_or_else(not_found)?.files.saved else { return Ok(None) };
        let list = self.snapshot_records()?;
        if let Some(known) = list.iter().find(|known| known.saved.id == present.id) {
            return known.describe(&list).map(Some);
        }
        let (id, tenant) = (self.new_snapshot_id()?, self.store.record()?.tenant.clone());
        self.admission.take_for(&id, &tenant).await?;
        let kept = self.enter_snapshot(id, Some(name.to_owned()), present)?;
        kept.describe(&self.snapshot_records()?).map(Some)
    }

    /// What another sandbox needs to begin with a snapshot.
    fn source(&self, id: &SnapshotId, child: Option<SandboxId>) -> Result<Source, Error> {
        let saved = self.use_snapshot(id, child)?.saved;
        let record = self.store.record()?;
        let settings = Settings {
            env: record.project_env.iter().chain(&record.env).map(|(name, value)| (name.clone(), value.clone())).collect(),
            instance: record.instance,
            network: record.network.wanted.clone(),
            project_network: record.network.project.clone(),
            roots: record.roots.clone(),
            labels: record.labels.clone(),
            before_sleep: record.before_sleep.clone(),
            policy: record.lifecycle.policy,
        };
        Ok(Source { kind: record.kind.clone(), saved, settings })
    }

    /// Asks the sandbox of a snapshot for what this one needs to begin with it.
    ///
    /// Fails with `not_found` where the caller sees no such snapshot, and with `invalid_request` where it is of another kind.
    pub(super) async fn source_of(&self, snapshot: &SnapshotId, kind: &str, principal: &Principal) -> Result<Source, Error> {
        let (env, binding) = self.admission.way();
        let origin = snapshot.sandbox()?;
        let other_kind = |of: &str| {
            let message = format!("`from`: the snapshot is of a sandbox of the kind {of:?}, and this one is of {kind:?}");
            Err(Error::invalid_request(message).with_details(json!({ "reason": "other_kind", "field": "from.snapshot" })))
        };
        // The id says the kind. A sandbox that is asked for its files notes who begins with them.
        let kinds = Kinds::read(env)?;
        let of = origin.kind_among(kinds.iter().map(|(name, _)| name));
        if of != kind {
            return other_kind(of);
        }
        let address = Address::new(origin, &principal.tenant);
        let origin = Handle::new(env, &binding, address)?.acting_for(principal);
        let child = self.supervisor.platform().address()?;
        let path = format!("{CONTROL_PATH}/snapshots/{snapshot}/source?for={}", child.id());
        let request = wire::request(Method::Get, &path, None::<&()>)?;
        let source: Source = handle::decode(origin.pass(request).await?).await.map_err(|error| match error.code {
            Code::NotFound => Error::not_found("there is no such snapshot").because("no_such_snapshot"),
            _ => error,
        })?;
        if source.kind == kind { Ok(source) } else { other_kind(&source.kind) }
    }

    /// Has the first start begin with a snapshot.
    pub(super) fn begin_with(&self, saved: Saved) -> Result<(), Error> {
        self.supervisor.apply(Event::Restore(saved))
    }
}
