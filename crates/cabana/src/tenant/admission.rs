//! A sandbox's side of its tenant's quotas.

use std::cell::{Cell, RefCell};

use cabana_protocol::{
    Code, Error, Tenant,
    sandbox::{SnapshotId, State},
};
use worker::{Date, Env, Method};

use super::{
    limits::Limits,
    place::{Call, Holder, Place},
};
use crate::{
    Handle, Principal, handle, log,
    wire::{self, CONTROL_PATH},
};

/// The Durable Object binding of [`Tenant`](super::Tenant).
const BINDING: &str = "TENANT";

/// Where the object of a tenant answers; it looks at the body only.
const PATH: &str = "/places";

/// Takes places for one sandbox and gives them back. Where a tenant has no quotas, nobody is asked.
pub(crate) struct Admission {
    env: Env,
    /// The name of the sandbox's object.
    sandbox: String,
    /// The binding that leads to it: the one by which the last request came.
    binding: RefCell<String>,
    /// The stamp of the last call.
    stamp: Cell<u64>,
}

impl Admission {
    pub(crate) fn new(env: Env, sandbox: String) -> Self {
        Self { env, sandbox, binding: RefCell::default(), stamp: Cell::default() }
    }

    /// Notes the binding by which a request has come.
    pub(crate) fn came_by(&self, binding: Option<String>) {
        if let Some(binding) = binding {
            self.binding.replace(binding);
        }
    }

    /// The way to other sandboxes of the class: the bindings, and the one by which the last request came.
    pub(crate) fn way(&self) -> (&Env, String) {
        (&self.env, self.binding.borrow().clone())
    }

    /// Takes a place, or finds that the sandbox has it.
    ///
    /// Fails with `too_many_requests`, with the `quota`, its `limit`, how much is `used`, and `retry_after_ms`.
    pub(crate) async fn take(&self, place: Place, tenant: &Tenant) -> Result<(), Error> {
        if !Limits::read(&self.env, tenant)?.has_quotas() {
            return Ok(());
        }
        self.call(place, true, self.holder(), tenant).await
    }

    /// Gives a place back. Where that cannot be told, it is found when it is missing.
    pub(crate) fn give(&self, place: Place, tenant: Tenant) -> impl Future<Output = ()> + use<> {
        let (env, holder) = (self.env.clone(), self.holder());
        async move {
            if Limits::read(&env, &tenant).is_ok_and(|limits| limits.has_quotas())
                && let Err(error) = call(&env, &Call { place, take: false, holder }, &tenant).await
            {
                log::warn(None, &error.message);
            }
        }
    }

    /// Takes a place for a snapshot of the sandbox. Fails as [`Self::take`] does.
    pub(crate) async fn take_for(&self, snapshot: &SnapshotId, tenant: &Tenant) -> Result<(), Error> {
        if Limits::read(&self.env, tenant)?.snapshots.is_none() {
            return Ok(());
        }
        self.call(Place::Snapshot, true, self.holder_of(snapshot), tenant).await
    }

    /// Gives the place of a snapshot back, as [`Self::give`] does.
    pub(crate) fn give_for(&self, snapshot: &SnapshotId, tenant: Tenant) -> impl Future<Output = ()> + use<> {
        let (env, holder) = (self.env.clone(), self.holder_of(snapshot));
        async move {
            if Limits::read(&env, &tenant).is_ok_and(|limits| limits.snapshots.is_some())
                && let Err(error) = call(&env, &Call { place: Place::Snapshot, take: false, holder }, &tenant).await
            {
                log::warn(None, &error.message);
            }
        }
    }

    fn holder_of(&self, snapshot: &SnapshotId) -> Holder {
        let holder = self.holder();
        Holder { sandbox: format!("{} {snapshot}", holder.sandbox), ..holder }
    }

    async fn call(&self, place: Place, take: bool, holder: Holder, tenant: &Tenant) -> Result<(), Error> {
        call(&self.env, &Call { place, take, holder }, tenant).await
    }

    /// The sandbox as of now. The clock stands still while the object computes, so that it does not tell calls apart.
    fn holder(&self) -> Holder {
        self.stamp.set(Date::now().as_millis().max(self.stamp.get() + 1));
        Holder { sandbox: self.sandbox.clone(), binding: self.binding.borrow().clone(), stamp: self.stamp.get() }
    }
}

async fn call(env: &Env, call: &Call, tenant: &Tenant) -> Result<(), Error> {
    let missing = |error| Error::internal(format!("there are quotas, but no Durable Object is bound as {BINDING}: {error}"));
    let stub = env.durable_object(BINDING).map_err(missing)?.get_by_name(tenant.as_str()).map_err(missing)?;
    let answer = stub.fetch_with_request(wire::request(Method::Post, PATH, Some(call))?).await;
    let answer = answer.map_err(|error| Error::internal(format!("the tenant's object did not answer: {error}")))?;
    handle::check(answer).await.map(drop)
}

/// Whether a holder has what the place stands for; `None` where it cannot be asked.
pub(super) async fn holds(env: &Env, tenant: &Tenant, holder: &Holder, place: Place) -> Option<bool> {
    let (sandbox, snapshot) = holder.sandbox.split_once(' ').unwrap_or((&holder.sandbox, ""));
    let handle = Handle::new(env, &holder.binding, sandbox.parse().ok()?).ok()?;
    // As the tenant itself: a sandbox of another one that has taken over the name is not there.
    let asker = Principal { id: "quota".to_owned(), tenant: tenant.clone(), operator: false, ..Principal::operator() };
    let handle = handle.acting_for(&asker);
    if place == Place::Snapshot {
        let request = wire::request(Method::Get, &format!("{CONTROL_PATH}/snapshots/{snapshot}"), None::<&()>).ok()?;
        return match handle::check(handle.pass(request).await.ok()?).await {
            Ok(_) => Some(true),
            Err(error) => (error.code == Code::NotFound).then_some(false),
        };
    }
    match handle.show().await {
        Ok(sandbox) => Some(match place {
            Place::Sandbox | Place::Snapshot => sandbox.state != State::Destroyed,
            Place::Running => matches!(sandbox.state, State::Starting | State::Running | State::Stopping),
        }),
        Err(error) if error.code == Code::NotFound => Some(false),
        Err(_) => None,
    }
}
