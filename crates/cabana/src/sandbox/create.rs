//! Making a sandbox, and changing what its caller may change.

use std::{collections::BTreeMap, rc::Rc};

use cabana_protocol::{
    Code, Error, SandboxId, Tenant,
    names::quoted,
    network::Network,
    sandbox::{CreateSandbox, Labels, Sandbox, Setup, State, UpdateSandbox, Wakeups, check_labels},
    variables::VariableChanges,
};
use serde_json::json;

use super::{
    object::Object,
    record::{NetworkRecord, Record},
};
use crate::{
    Principal,
    clock::now,
    egress::check_network,
    environment,
    lifecycle::{Event, Lifecycle, Policy, Saved},
    tenant::place::Place,
};

impl Object {
    /// Makes the sandbox, or finds it; true where it was made.
    ///
    /// Fails with `invalid_request` where there is no such kind, or no such secret, with `conflict` where the name is another tenant's or the sandbox has other
    /// settings, and with
    /// `too_many_requests`.
    pub(super) async fn create(
        self: &Rc<Self>,
        mut request: CreateSandbox,
        is_fork: bool,
        principal: &Principal,
    ) -> Result<(Sandbox, bool), Error> {
        let (mut saved, mut project_network) = (None, None);
        if let Some(network) = &request.network {
            check_network(&self.env, &principal.tenant, network).await?;
        }
        if let Some(origin) = request.from.clone().filter(|_| self.is_destroyed()) {
            let (kind, _) = self.supervisor.platform().kind_of(self.supervisor.platform().address()?.id(), None)?;
            let source = self.source_of(&origin.snapshot, &kind, principal).await?;
            saved = Some(source.saved.clone());
            if is_fork {
                project_network = source.project_network();
                request = source.inherit(request);
            }
        }
        if self.is_destroyed() {
            self.admission.take(Place::Sandbox, &principal.tenant).await?;
        }
        let network = NetworkRecord { wanted: request.network.clone(), project: project_network, is_ruled: false };
        let made = self.create_in_its_place(request, network, saved, principal);
        if made.is_err() && self.store.owner().as_ref() != Some(&principal.tenant) {
            let given = self.admission.give(Place::Sandbox, principal.tenant.clone());
            self.supervisor.platform().state().wait_until(given);
        }
        made
    }

    fn create_in_its_place(
        &self,
        request: CreateSandbox,
        network: NetworkRecord,
        saved: Option<Saved>,
        principal: &Principal,
    ) -> Result<(Sandbox, bool), Error> {
        if let Ok(sandbox) = self.store.describe(now()) {
            let taken = |_| Error::new(Code::Conflict, "this name is not available").because("taken");
            self.store.admit(principal).map_err(taken)?;
            // The name of one that has expired may be used again.
            if sandbox.state != State::Destroyed {
                let record = self.store.record()?;
                let differing = differing(&request, &record);
                return if differing.is_empty() { Ok((sandbox, false)) } else { Err(exists(&sandbox.id, &differing)) };
            }
        }
        let runtime = self.supervisor.platform();
        let id = runtime.address()?.id().clone();
        let (kind, instance) = runtime.kind_of(&id, request.instance)?;
        if let Some(roots) = &request.roots {
            self.config.as_ref().map_err(Clone::clone)?.kinds.check_roots(&kind, roots)?;
        }
        let policy = Policy {
            sleep_after_ms: request.sleep_after_ms,
            keep_alive: request.keep_alive.unwrap_or(false),
            max_lifetime_ms: request.max_lifetime_ms,
            ephemeral: request.ephemeral.unwrap_or(false),
            snapshot_every_ms: request.snapshot_every_ms,
            keep_snapshots: request.keep_snapshots,
            keep_snapshots_ms: request.keep_snapshots_ms,
        };
        let record = Record {
            id,
            kind,
            instance,
            tenant: principal.tenant.clone(),
            env: request.env,
            project_env: VariableChanges::new(),
            network,
            roots: request.roots,
            labels: request.labels,
            project: request.project.as_ref().map(ToString::to_string),
            setup: request.project.map(|_| Setup::default()),
            before_sleep: request.before_sleep,
            snapshot: request.from.map(|origin| origin.snapshot),
            lifecycle: Lifecycle::new(policy, now()),
            secret: String::new(),
            incarnation: 0,
            updated_at: now(),
            version: 0,
            wakeups: Wakeups { loads: 1, alarms: 0 },
        };
        self.store.insert(record, now())?;
        if let Some(saved) = saved {
            self.begin_with(saved)?;
        }
        self.supervisor.rearm();
        self.outbox.deliver();
        Ok((self.store.describe(now())?, true))
    }

    /// Changes what callers may change.
    ///
    /// Fails with `invalid_request` where the labels or variables would be too many, with `forbidden` where network rules are not the caller's to
    /// change, with `not_found`, and with `container_not_ready` where
    /// the agent was not told of variables.
    pub(super) async fn update(&self, request: UpdateSandbox, principal: &Principal) -> Result<(), Error> {
        if let Some(network) = &request.network {
            let tenant = self.store.record()?.tenant.clone();
            self.check_network(network.as_ref(), &tenant, principal).await?;
        }
        let sets_variables = request.env.is_some();
        let mut policy = self.store.record()?.lifecycle.policy;
        self.store.update(now(), |record| {
            record.labels = merge(&record.labels, request.labels);
            check_labels(&record.labels)?;
            if let Some(changes) = request.env {
                record.env = environment::change(&record.env, changes)?;
            }
            if let Some(network) = request.network {
                record.network.wanted = network;
            }
            if let Some(before_sleep) = request.before_sleep {
                record.before_sleep = before_sleep;
            }
            Ok(())
        })?;
        self.supervisor.set_rules();
        policy.sleep_after_ms = request.sleep_after_ms.unwrap_or(policy.sleep_after_ms);
        policy.keep_alive = request.keep_alive.map_or(policy.keep_alive, Option::unwrap_or_default);
        policy.max_lifetime_ms = request.max_lifetime_ms.unwrap_or(policy.max_lifetime_ms);
        policy.ephemeral = request.ephemeral.map_or(policy.ephemeral, Option::unwrap_or_default);
        policy.snapshot_every_ms = request.snapshot_every_ms.unwrap_or(policy.snapshot_every_ms);
        policy.keep_snapshots = request.keep_snapshots.unwrap_or(policy.keep_snapshots);
        policy.keep_snapshots_ms = request.keep_snapshots_ms.unwrap_or(policy.keep_snapshots_ms);
        self.supervisor.apply(Event::Configure(policy))?;
        self.retain_snapshots(0)?;
        if sets_variables { self.tell_variables().await } else { Ok(()) }
    }
}

impl Object {
    /// Whether a caller may replace the network rules by these. Credentials that were handed on may be in the hands of the program that the rules
    /// are for.
    async fn check_network(&self, network: Option<&Network>, tenant: &Tenant, principal: &Principal) -> Result<(), Error> {
        if principal.delegated {
            let message = "credentials that were handed on do not change network rules";
            return Err(Error::new(Code::Forbidden, message));
        }
        match network {
            Some(network) => check_network(&self.env, tenant, network).await,
            None => Ok(()),
        }
    }
}

/// The settings that a request names and that a sandbox has otherwise. What it takes from its project may have changed since.
fn differing(request: &CreateSandbox, record: &Record) -> Vec<&'static str> {
    let policy = &record.lifecycle.policy;
    let own = request.project.is_none();
    [
        ("env", !request.env.is_empty() && request.env != record.env),
        ("network", request.network.is_some() && request.network != record.network.wanted),
        ("instance", own && request.instance.is_some() && request.instance != record.instance),
        ("roots", request.roots.is_some() && request.roots != record.roots),
        ("labels", !request.labels.is_empty() && request.labels != record.labels),
        ("sleep_after_ms", request.sleep_after_ms.is_some() && request.sleep_after_ms != policy.sleep_after_ms),
        ("keep_alive", request.keep_alive.is_some_and(|keep_alive| keep_alive != policy.keep_alive)),
        ("from", request.from.as_ref().is_some_and(|origin| Some(&origin.snapshot) != record.snapshot.as_ref())),
        ("ephemeral", request.ephemeral.is_some_and(|ephemeral| ephemeral != policy.ephemeral)),
        ("snapshot_every_ms", request.snapshot_every_ms.is_some() && request.snapshot_every_ms != policy.snapshot_every_ms),
        ("keep_snapshots", request.keep_snapshots.is_some() && request.keep_snapshots != policy.keep_snapshots),
        ("keep_snapshots_ms", request.keep_snapshots_ms.is_some() && request.keep_snapshots_ms != policy.keep_snapshots_ms),
        ("before_sleep", request.before_sleep.is_some() && request.before_sleep != record.before_sleep),
        ("max_lifetime_ms", request.max_lifetime_ms.is_some() && request.max_lifetime_ms != policy.max_lifetime_ms),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(field, _)| field)
    .collect()
}

fn exists(id: &SandboxId, differing: &[&str]) -> Error {
    let message = format!("the sandbox {id} exists with other settings: {}; change them by PATCH", quoted(differing, "and"));
    Error::new(Code::Conflict, message).with_details(json!({ "reason": "exists", "differs": differing }))
}

/// The labels after a change.
fn merge(labels: &Labels, changes: BTreeMap<String, Option<String>>) -> Labels {
    let mut merged = labels.clone();
    for (name, value) in changes {
        match value {
            Some(value) => merged.insert(name, value),
            None => merged.remove(&name),
        };
    }
    merged
}
