//! The parts of one sandbox's Durable Object, put together.

use std::{cell::Cell, rc::Rc};

use cabana_protocol::{Error, SandboxId, sandbox::State as LifeState};
use worker::{Env, State};

use super::{
    outbox::DirectoryOutbox,
    runtime::{Runtime, Store, Supervisor},
    sql::Sql,
    store::not_found,
};
use crate::{
    Address, Config, Database,
    audit::Audit,
    container::Container,
    directory::Directory,
    hooks::HookTable,
    lifecycle::{Deadline, Deadlines, Instant, Rules},
    tenant::admission::Admission,
};

/// What a request to the object may need.
pub(super) struct Object {
    pub(super) store: Rc<Store>,
    pub(super) supervisor: Rc<Supervisor>,
    pub(super) audit: Rc<Audit>,
    pub(super) outbox: Rc<DirectoryOutbox>,
    pub(super) admission: Rc<Admission>,
    /// Where keys are; `None` where the deployment has no database.
    pub(super) database: Option<Database>,
    /// The bindings and variables of the Worker.
    pub(super) env: Env,
    pub(super) config: Result<Config, Error>,
    /// The sandbox that is being set up for its project, by when it was made.
    pub(super) setting_up: Cell<Option<Instant>>,
}

impl Object {
    /// Takes up what is stored. Fails where the storage does.
    pub(super) fn load(state: State, env: Env, hooks: Option<HookTable>) -> Result<Rc<Self>, Error> {
        let mut config = Config::read(&env);
        let (database, directory) = (Database::of(&env), Directory::of(&env));
        let name = state.id().name().unwrap_or_default();
        let address = name.parse::<Address>().ok();
        if let (Ok(config), Some(hooks), Some(address)) = (&mut config, hooks, &address) {
            config.variables = (hooks.variables)(&env, address.id());
        }
        let rules = config.as_ref().map(|config| config.rules(address.as_ref().map(Address::id))).unwrap_or_default();
        let snapshots = Container::of(&state).is_some_and(|container| container.takes_snapshots());
        let rules = Rules { snapshots, ..rules };
        let retention = config.as_ref().map(|config| config.retention).unwrap_or_default();
        let audit = Audit::new(state.storage(), retention);
        let store = Rc::new(Store::load(Sql::new(state.storage()), rules, database.is_some())?);
        let admission = Rc::new(Admission::new(env.clone(), name));
        let runtime = Runtime::new(state, config.clone(), Rc::clone(&admission), hooks);
        let patience = config.clone().map(|config| config.start_timeout);
        let supervisor = Supervisor::load(runtime, Rc::clone(&store), patience)?;
        let outbox = DirectoryOutbox::new(Rc::clone(&supervisor), Rc::clone(&audit), directory);
        let object = Self { store, supervisor, audit, outbox, admission, database, env, config, setting_up: Cell::default() };
        object.connect();
        object.give_up_setup()?;
        object.outbox.deliver();
        let object = Rc::new(object);
        let listed = Rc::downgrade(&object);
        object.supervisor.add_deadlines(move || {
            let due = listed.upgrade().and_then(|object| object.snapshot_deadline());
            Deadlines::default().with(Deadline::Retain, due)
        });
        Ok(object)
    }

    /// Has the supervisor know what the other parts want of the alarm, and tell them of changes.
    fn connect(&self) {
        let outbox = Rc::downgrade(&self.outbox);
        self.supervisor.on_stored(move || {
            if let Some(outbox) = outbox.upgrade() {
                outbox.deliver();
            }
        });
        let outbox = Rc::downgrade(&self.outbox);
        self.supervisor.add_deadlines(move || {
            Deadlines::default().with(Deadline::Tell, outbox.upgrade().and_then(|outbox| outbox.retry_at()))
        });
        let (audit, store) = (Rc::clone(&self.audit), Rc::clone(&self.store));
        self.supervisor.add_deadlines(move || Deadlines::default().with(Deadline::Trim, audit.deadline(!store.is_empty())));
    }

    /// The alarm has gone off: does what is due, and sets it again.
    pub(super) async fn on_alarm(self: &Rc<Self>) -> Result<(), Error> {
        let supervisor = &self.supervisor;
        supervisor.alarm_went_off();
        self.outbox.retry();
        let trims = self.audit.deadline(!self.store.is_empty()).is_some_and(|at| at <= crate::clock::now());
        if trims && self.audit.trim()? && !self.store.rows().exist()? && !supervisor.has_stray() {
            return self.outbox.free().await;
        }
        self.look_after_snapshots()?;
        let forgotten = supervisor.tick().await?;
        if forgotten || self.store.is_empty() && !supervisor.has_stray() {
            self.outbox.free_when_told().await?;
        }
        supervisor.arm().await
    }

    /// Whether there is no sandbox, or none any more.
    pub(super) fn is_destroyed(&self) -> bool {
        self.store.state().is_none_or(|state| state == LifeState::Destroyed)
    }

    /// The sandbox's id. Fails with `not_found`.
    pub(super) fn id(&self) -> Result<SandboxId, Error> {
        self.store.record().map(|record| record.id.clone()).map_err(|_| not_found())
    }

    /// Its id, and whose it is. Fails with `not_found`.
    pub(super) fn address(&self) -> Result<Address, Error> {
        self.store.record().map_err(|_| not_found())?;
        self.supervisor.platform().address()
    }
}
