//! One sandbox at work: its record, its container, and whoever waits for either.
//!
//! A Durable Object runs on one thread, and other requests get their turn at every `await`. So the record is changed and
//! stored in one go, and no borrow of it lives across an `await`. A start belongs to the object and not to the request that
//! caused it: requests wait for its outcome, and one that is given up takes nothing with it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use cabana_protocol::{
    Code, Error, Tenant,
    sandbox::{Sandbox, State},
};
use futures_util::future::{LocalBoxFuture, Shared};

use super::{
    alarm::Armed,
    audit::Audit,
    describe::describe,
    history::Followers,
    listing::Listing,
    now,
    record::{Record, Records},
    start::Outcome,
    wake::Finding,
};
use crate::{
    Config, Principal,
    container::Container,
    directory::Entry,
    lifecycle::{Event, Instant, Lifecycle, Rules},
    log,
    tenant::{Place, admission::Admission},
};

/// How long the agent may take to be described.
const LOOK: Duration = Duration::from_secs(1);

/// See above.
pub(super) struct Life {
    /// The platform's handle on the object, which keeps spawned work alive.
    pub(super) state: worker::State,
    pub(super) config: Result<Config, Error>,
    pub(super) rules: Rules,
    pub(super) records: Records,
    pub(super) listing: Listing,
    pub(super) audit: Rc<Audit>,
    /// Its tenant's quotas.
    pub(super) admission: Admission,
    pub(super) container: Option<Container>,
    /// `None` where no sandbox was created, or it was destroyed.
    pub(super) record: RefCell<Option<Record>>,
    /// The highest incarnation there was since the object came into memory, over all sandboxes that were created and destroyed
    /// under its name: word of an earlier one's container must not be taken for word of this one's.
    pub(super) incarnations: Cell<u64>,
    /// The highest version of a record, in the same way.
    versions: Cell<u64>,
    /// The start under way, or the last one.
    pub(super) start: RefCell<Option<Outcome>>,
    /// The end of a container that is under way.
    pub(super) ending: RefCell<Option<Shared<LocalBoxFuture<'static, ()>>>>,
    /// When the agent last answered anything.
    pub(super) answered_at: Cell<Option<Instant>>,
    /// The last use that is stored.
    pub(super) use_stored: Cell<Instant>,
    /// The sandbox that is being made ready for its project, by when it was made.
    pub(super) setting_up: Cell<Option<Instant>>,
    pub(super) armed: Cell<Armed>,
    /// When the first of the credentials end that sockets were opened with.
    pub(super) credentials_end: Cell<Option<Instant>>,
    pub(super) followers: Followers,
}

impl Life {
    /// Takes up what is stored. Fails where the storage does.
    pub(super) fn load(
        state: worker::State,
        config: Result<Config, Error>,
        listing: Listing,
        admission: Admission,
    ) -> Result<Rc<Self>, Error> {
        let records = Records::new(state.storage());
        let retention = config.as_ref().map(|config| config.retention).unwrap_or_default();
        let audit = Audit::new(state.storage(), retention);
        let record = records.load()?;
        let incarnations = Cell::new(record.as_ref().map_or(0, |record| record.incarnation));
        let versions = Cell::new(record.as_ref().map_or(0, |record| record.version));
        let container = Container::of(&state);
        let id = state.id().name().and_then(|name| name.parse().ok());
        let rules = config.as_ref().map(|config| config.rules(id.as_ref())).unwrap_or_default();
        let life = Rc::new(Self {
            state,
            config,
            rules,
            records,
            listing,
            audit,
            admission,
            container,
            record: RefCell::new(record),
            incarnations,
            versions,
            start: RefCell::default(),
            ending: RefCell::default(),
            answered_at: Cell::default(),
            use_stored: Cell::default(),
            setting_up: Cell::default(),
            armed: Cell::default(),
            credentials_end: Cell::default(),
            followers: Followers::default(),
        });
        life.wake_up(|wakeups| wakeups.loads += 1)?;
        life.happen(Event::Loaded { container: life.runs() })?;
        life.give_up_setup()?;
        life.list();
        Ok(life)
    }

    /// The sandbox as callers see it. Fails with `not_found`.
    pub(super) fn describe(&self) -> Result<Sandbox, Error> {
        self.record.borrow().as_ref().map(|record| describe(record, &self.rules, now())).ok_or_else(not_found)
    }

    /// The same, after a look at the agent of one that runs: it knows how long it has had nothing to do, and whether it is there at all.
    /// Does not wake the sandbox.
    pub(super) async fn look(self: &Rc<Self>) -> Result<Sandbox, Error> {
        let mut busy = false;
        if self.current() == Some(State::Running) {
            let incarnation = self.incarnation();
            let finding = self.examine(LOOK).await;
            busy = matches!(&finding, Finding::Well(health) if health.busy > 0);
            // An agent that is slow to answer is left to those who need it.
            if !matches!(finding, Finding::Hangs) {
                let event = self.learn(finding).await;
                self.happen_to(incarnation, event)?;
            }
        }
        let sandbox = self.describe()?;
        Ok(Sandbox { sleeps_at: sandbox.sleeps_at.filter(|_| !busy), ..sandbox })
    }

    /// Lets in whoever sees the sandbox, and everyone where there is none: there is nothing to see.
    ///
    /// Fails with `not_found`, in the very words in which it says that there is none.
    pub(super) fn admit(&self, principal: &Principal) -> Result<(), Error> {
        let hidden = self.record.borrow().as_ref().is_some_and(|record| !principal.sees(&record.tenant));
        if hidden { Err(not_found()) } else { Ok(()) }
    }

    /// Whose the sandbox is; `None` where there is none.
    pub(super) fn owner(&self) -> Option<Tenant> {
        self.record.borrow().as_ref().map(|record| record.tenant.clone())
    }

    /// Takes the sandbox's place among its tenant's, ahead of [`Self::create`]. Fails with `too_many_requests`.
    pub(super) async fn reserve(&self, tenant: &Tenant) -> Result<(), Error> {
        match self.current() {
            None | Some(State::Destroyed) => self.admission.take(Place::Sandbox, tenant).await,
            Some(_) => Ok(()),
        }
    }

    /// Gives back the places of a sandbox that has come into this state, and was in that one.
    pub(super) fn give_back(&self, tenant: &Tenant, before: State, after: State) {
        let runs = |state| matches!(state, State::Starting | State::Running | State::Stopping);
        if runs(before) && !runs(after) {
            self.spawn(self.admission.give(Place::Running, tenant.clone()));
        }
        if after == State::Destroyed {
            self.spawn(self.admission.give(Place::Sandbox, tenant.clone()));
        }
    }

    /// Whether there is no sandbox here.
    pub(super) fn is_gone(&self) -> bool {
        self.record.borrow().is_none()
    }

    /// Whether its container is up or on the way up.
    pub(super) fn is_up(&self) -> bool {
        self.record.borrow().as_ref().is_some_and(|record| record.lifecycle.is_up())
    }

    /// Stores a record that has changed, and what the directory is to be told of it.
    pub(super) fn store(&self, record: &mut Record) -> Result<(), Error> {
        record.updated_at = now();
        // The clock may stand still, and goes back where the object comes back on another machine.
        record.version = record.updated_at.0.max(self.versions.get() + 1);
        self.versions.set(record.version);
        self.records.save(record)?;
        if !self.listing.exists() {
            return Ok(());
        }
        // Uses put the sleep off, and the directory is not told of uses.
        let sandbox = Sandbox { sleeps_at: None, ..describe(record, &self.rules, now()) };
        self.records.owe(&Entry { version: record.version, sandbox })
    }

    /// The record, while it is still the one of this incarnation and on its way up.
    pub(super) fn record_of(&self, incarnation: u64) -> Option<Record> {
        self.record.borrow().clone().filter(|record| record.incarnation == incarnation && record.lifecycle.is_up())
    }

    /// Which container the sandbox is at; 0 where there is no sandbox.
    pub(super) fn incarnation(&self) -> u64 {
        self.record.borrow().as_ref().map_or(0, |record| record.incarnation)
    }

    /// Where it is in its life; `None` where there is no sandbox.
    pub(super) fn lifecycle(&self) -> Option<Lifecycle> {
        self.record.borrow().as_ref().map(|record| record.lifecycle.clone())
    }

    /// The container. Fails with `not_implemented` where the class has none in wrangler.jsonc.
    pub(super) fn container(&self) -> Result<&Container, Error> {
        let missing = "the Durable Object class has no container: add it to `containers` in wrangler.jsonc";
        self.container.as_ref().ok_or_else(|| Error::new(Code::NotImplemented, missing))
    }

    /// Whether the platform says that a container runs. It may have ended unnoticed.
    pub(super) fn runs(&self) -> bool {
        self.container.as_ref().is_some_and(Container::running)
    }

    /// Logs what failed where nobody is left to be told.
    pub(super) fn note(&self, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            log::error(None, &format!("noting a change of the sandbox failed: {}", error.message));
        }
    }

    /// Hands work to the object, which owns it from then on.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.state.wait_until(work);
    }
}

pub(super) fn not_found() -> Error {
    Error::not_found("there is no such sandbox: it was never created, or was destroyed")
}
