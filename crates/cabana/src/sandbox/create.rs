//! Making a sandbox, and changing what its caller may change.

use std::{collections::BTreeMap, mem, rc::Rc};

use cabana_protocol::{
    Code, Error, SandboxId,
    sandbox::{CreateSandbox, Labels, Sandbox, Setup, State, UpdateSandbox, Wakeups, check_labels},
};

use super::{
    life::{Life, not_found},
    now,
    record::Record,
};
use crate::{
    Principal,
    lifecycle::{Event, Lifecycle, Policy},
};

impl Life {
    /// Makes the sandbox, or finds it; true where it was made.
    ///
    /// Fails with `invalid_request` where there is no such kind, and with `conflict` where the name is another tenant's.
    pub(super) fn create(self: &Rc<Self>, request: CreateSandbox, principal: &Principal) -> Result<(Sandbox, bool), Error> {
        if let Ok(sandbox) = self.describe() {
            let taken = |_| Error::new(Code::Conflict, "this name is not available");
            self.admit(principal).map_err(taken)?;
            // The name of one that has expired may be used again.
            if sandbox.state != State::Destroyed {
                return Ok((sandbox, false));
            }
        }
        let name = self.state.id().name().unwrap_or_default();
        let id: SandboxId = name.parse()?;
        let (kind, instance) = self.kind_of(&id, request.instance)?;
        let policy = Policy {
            sleep_after_ms: request.sleep_after_ms,
            keep_alive: request.keep_alive.unwrap_or(false),
            max_lifetime_ms: request.max_lifetime_ms,
        };
        let incarnation = self.incarnations.get() + 1;
        let mut record = Record {
            id,
            kind,
            instance,
            tenant: principal.tenant.clone(),
            env: request.env,
            labels: request.labels,
            project: request.project.as_ref().map(ToString::to_string),
            setup: request.project.map(|_| Setup::default()),
            lifecycle: Lifecycle::new(policy, now()),
            secret: String::new(),
            incarnation,
            updated_at: now(),
            version: 0,
            wakeups: Wakeups { loads: 1, alarms: 0 },
        };
        self.records.migrate()?;
        self.store(&mut record)?;
        self.incarnations.set(incarnation);
        self.remember(&record.lifecycle)?;
        self.record.replace(Some(record));
        self.rearm();
        self.list();
        Ok((self.describe()?, true))
    }

    /// Changes what callers may change.
    ///
    /// Fails with `invalid_request` where the labels would be too many, and with `not_found`.
    pub(super) fn update(self: &Rc<Self>, request: UpdateSandbox) -> Result<Sandbox, Error> {
        let mut slot = self.record.borrow_mut();
        let record = slot.as_mut().ok_or_else(not_found)?;
        let labels = merge(&record.labels, request.labels);
        check_labels(&labels)?;
        record.labels = labels;
        record.env = request.env.map_or_else(|| mem::take(&mut record.env), Option::unwrap_or_default);
        let mut policy = record.lifecycle.policy;
        policy.sleep_after_ms = request.sleep_after_ms.unwrap_or(policy.sleep_after_ms);
        policy.keep_alive = request.keep_alive.map_or(policy.keep_alive, Option::unwrap_or_default);
        policy.max_lifetime_ms = request.max_lifetime_ms.unwrap_or(policy.max_lifetime_ms);
        self.store(record)?;
        drop(slot);
        self.happen(Event::Configure(policy))?;
        self.describe()
    }
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
