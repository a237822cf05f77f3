//! Using snapshots so that the platform keeps them: it forgets one that no container has begun with for 30 days.

use std::rc::Rc;

use cabana_protocol::{
    Error, SandboxId,
    sandbox::{CreateSandbox, Origin},
};
use worker::Method;

use super::{Object, SnapshotRecord};
use crate::{
    Address, Handle, Principal,
    clock::now,
    log, random,
    wire::{self, CONTROL_PATH},
};

impl Object {
    /// Does what is due of the list: forgets what is too old, and has one snapshot used that is to be renewed. The next one follows with the next
    /// alarm.
    pub(in crate::sandbox) fn look_after_snapshots(self: &Rc<Self>) -> Result<(), Error> {
        self.retain_snapshots(0)?;
        let Some(due) = self.snapshot_records()?.into_iter().find(|snapshot| snapshot.renew_at() <= now()) else { return Ok(()) };
        let tried = SnapshotRecord { renewal_tried_at: now(), ..due };
        self.store.rows().save_snapshot(&tried.id, tried.saved.at, &tried)?;
        let this = Rc::clone(self);
        self.supervisor.platform().state().wait_until(async move {
            if let Err(error) = this.renew_snapshot(&tried).await {
                log::error(None, &format!("the snapshot {} was not renewed: {}", tried.id, error.message));
            }
        });
        Ok(())
    }

    /// Starts a sandbox that begins with the snapshot, and destroys it. Any object of the class can do that, and this one may be in use.
    async fn renew_snapshot(&self, snapshot: &SnapshotRecord) -> Result<(), Error> {
        let (env, _) = self.admission.way();
        let (tenant, kind) = {
            let record = self.store.record()?;
            (record.tenant.clone(), record.kind.clone())
        };
        let principal = Principal { id: "renewal".to_owned(), tenant, ..Principal::operator() };
        let id = SandboxId::new(&kind, &random::name())?;
        let helper = Handle::new(env, &snapshot.binding, Address::new(id, &principal.tenant))?.acting_for(&principal);
        let begins = CreateSandbox {
            from: Some(Origin { snapshot: snapshot.id.clone() }),
            ephemeral: Some(true),
            ..CreateSandbox::default()
        };
        helper.create(&begins).await?;
        let started = async {
            let start = wire::request(Method::Post, &format!("{CONTROL_PATH}/start"), None::<&()>)?;
            crate::handle::check(helper.pass(start).await?).await
        };
        let started = started.await;
        helper.delete().await?;
        started.map(drop)
    }
}
