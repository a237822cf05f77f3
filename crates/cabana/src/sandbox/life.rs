//! Carries out what the lifecycle asks for, and is the one place that changes a sandbox's record.
//!
//! A Durable Object runs on one thread, and other requests get their turn at every `await`. So the record is changed and
//! stored in one go, and no borrow of it lives across an `await`. A start belongs to the object and not to the request that
//! caused it: requests wait for its outcome, and one that is given up takes nothing with it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    pin::pin,
    rc::Rc,
    time::Duration,
};

use cabana_protocol::{
    Code, Error, SandboxId,
    sandbox::{CreateSandbox, Labels, Sandbox, State, UpdateSandbox, check_labels},
};
use futures_util::future::{self, Either};
use serde_json::json;
use worker::{Date, Delay};

use super::{
    listing::Listing,
    record::{Record, Records},
    start::{self, Outcome},
};
use crate::{
    Config, Principal,
    container::Container,
    directory::Entry,
    fault,
    lifecycle::{Effect, Effects, Event, step},
    random,
};

/// How often a request looks whether a container that is on its way down has ended.
const STOPPING_POLL: Duration = Duration::from_millis(50);

/// One sandbox at work.
pub(super) struct Life {
    /// The platform's handle on the object, which keeps spawned work alive.
    state: worker::State,
    pub(super) config: Result<Config, Error>,
    pub(super) records: Records,
    pub(super) listing: Listing,
    container: Option<Container>,
    /// `None` where no sandbox was created, or it was destroyed.
    record: RefCell<Option<Record>>,
    /// The highest incarnation there was since the object came into memory, over all sandboxes that were created and destroyed
    /// under its name: word of an earlier one's container must not be taken for word of this one's.
    incarnations: Cell<u64>,
    /// The highest version of a record, in the same way.
    versions: Cell<u64>,
    /// The start under way, or the last one.
    start: RefCell<Option<Outcome>>,
}

impl Life {
    /// Takes up what is stored. Fails where the storage does.
    pub(super) fn load(state: worker::State, config: Result<Config, Error>, listing: Listing) -> Result<Rc<Self>, Error> {
        let records = Records::new(state.storage());
        let record = records.load()?;
        let incarnations = Cell::new(record.as_ref().map_or(0, |record| record.incarnation));
        let versions = Cell::new(record.as_ref().map_or(0, |record| record.version));
        let container = Container::of(&state);
        let (record, start) = (RefCell::new(record), RefCell::default());
        let life = Rc::new(Self { state, config, records, listing, container, record, incarnations, versions, start });
        life.happen(Event::Loaded { container: life.runs() })?;
        if life.current() == Some(State::Running) {
            life.spawn(start::watch(Rc::clone(&life), life.incarnation()));
        }
        life.list();
        Ok(life)
    }

    /// The sandbox as callers see it. Fails with `not_found`.
    pub(super) fn describe(&self) -> Result<Sandbox, Error> {
        self.record.borrow().as_ref().map(Record::describe).ok_or_else(not_found)
    }

    /// Lets in whoever sees the sandbox, and everyone where there is none: there is nothing to see.
    ///
    /// Fails with `not_found`, in the very words in which it says that there is none.
    pub(super) fn admit(&self, principal: &Principal) -> Result<(), Error> {
        let hidden = self.record.borrow().as_ref().is_some_and(|record| !principal.sees(&record.tenant));
        if hidden { Err(not_found()) } else { Ok(()) }
    }

    /// Makes the sandbox, or finds it; true where it was made.
    ///
    /// Fails with `invalid_request` where there is no such kind, and with `conflict` where the name is another tenant's.
    pub(super) fn create(self: &Rc<Self>, request: CreateSandbox, principal: &Principal) -> Result<(Sandbox, bool), Error> {
        if let Ok(sandbox) = self.describe() {
            let taken = |_| Error::new(Code::Conflict, "this name is not available");
            return self.admit(principal).map_err(taken).map(|()| (sandbox, false));
        }
        let name = self.state.id().name().unwrap_or_default();
        let id: SandboxId = name.parse()?;
        self.container()?.image(id.kind()).map_err(|unknown| {
            let message = format!("there is no kind {:?}", id.kind());
            Error::invalid_request(message).with_details(json!({ "kinds": unknown.known }))
        })?;
        let created_at = timestamp(Date::now().as_millis());
        let (state, failure, secret) = (State::Created, None, String::new());
        let incarnation = self.incarnations.get() + 1;
        let tenant = principal.tenant.clone();
        let CreateSandbox { env, labels, .. } = request;
        let (project, updated_at, version) = (None, String::new(), 0);
        let mut record =
            Record { id, tenant, env, labels, project, created_at, state, failure, secret, incarnation, updated_at, version };
        self.records.migrate()?;
        self.store(&mut record)?;
        let sandbox = record.describe();
        self.incarnations.set(incarnation);
        self.record.replace(Some(record));
        self.list();
        Ok((sandbox, true))
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
        self.store(record)?;
        let sandbox = record.describe();
        drop(slot);
        self.list();
        Ok(sandbox)
    }

    /// Ends the container and forgets everything. Does nothing where there is no sandbox.
    pub(super) async fn destroy(self: &Rc<Self>) -> Result<(), Error> {
        let effects = self.advance(Event::Destroy)?;
        for effect in effects {
            match effect {
                Effect::End => self.end().await,
                // A sandbox of the same name may have been created while the container ended.
                Effect::Wipe if self.is_gone() && self.listing.exists() => self.list(),
                Effect::Wipe if self.is_gone() => self.records.wipe().await?,
                Effect::Wipe | Effect::Start | Effect::Resume | Effect::Terminate => {}
            }
        }
        Ok(())
    }

    /// Waits until the agent answers, starting the container where none runs, and returns the agent's secret.
    ///
    /// Fails with `not_found`, and with `container_not_ready` when `CABANA_START_TIMEOUT_MS` is spent; the start goes on. Many
    /// may wait for one start.
    pub(super) async fn awake(self: &Rc<Self>) -> Result<String, Error> {
        let timeout = self.config.clone()?.start_timeout;
        // Where it runs, which is nearly always, the first is done before the second sets its timer.
        match future::select(pin!(self.wake()), pin!(Delay::from(timeout))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => {
                let message = format!("the sandbox is still starting after {} ms", timeout.as_millis());
                Err(fault::not_ready(message))
            }
        }
    }

    async fn wake(self: &Rc<Self>) -> Result<String, Error> {
        loop {
            match self.current() {
                None | Some(State::Destroyed) => return Err(not_found()),
                Some(State::Running) if self.container()?.running() => return Ok(self.secret()),
                // Seen before the watch was told.
                Some(State::Running) => self.happen(Event::Exited)?,
                Some(State::Stopping) => Delay::from(STOPPING_POLL).await,
                Some(State::Starting) => self.started().await?,
                Some(State::Created | State::Sleeping | State::Failed) => self.happen(Event::Wake)?,
            }
        }
    }

    /// Lets an event happen and sees to its effects, without waiting for them.
    pub(super) fn happen(self: &Rc<Self>, event: Event) -> Result<(), Error> {
        for &effect in self.advance(event)? {
            let life = Rc::clone(self);
            match effect {
                Effect::Start => self.spawn_start(true)?,
                Effect::Resume => self.spawn_start(!self.runs())?,
                Effect::Terminate => self.terminate(),
                Effect::End => self.spawn(async move { life.end().await }),
                // Comes from a destroy alone, which waits for it.
                Effect::Wipe => {}
            }
        }
        self.list();
        Ok(())
    }

    /// As [`Self::happen`], for the container of one start. Word of an earlier container is late, and ignored.
    pub(super) fn happen_to(self: &Rc<Self>, incarnation: u64, event: Event) -> Result<(), Error> {
        if self.incarnation() == incarnation { self.happen(event) } else { Ok(()) }
    }

    /// Notes why a start failed.
    pub(super) fn fail(self: &Rc<Self>, incarnation: u64, reason: &str) -> Result<(), Error> {
        if let Some(record) = self.record.borrow_mut().as_mut().filter(|record| record.incarnation == incarnation) {
            record.failure = Some(reason.to_owned());
        }
        self.happen_to(incarnation, Event::StartFailed)
    }

    /// The record, while it is still the one of this incarnation.
    pub(super) fn record_of(&self, incarnation: u64) -> Option<Record> {
        self.record.borrow().clone().filter(|record| record.incarnation == incarnation)
    }

    /// Which container the sandbox is at; 0 where there is no sandbox.
    pub(super) fn incarnation(&self) -> u64 {
        self.record.borrow().as_ref().map_or(0, |record| record.incarnation)
    }

    /// The container. Fails with `not_implemented` where the class has none in wrangler.jsonc.
    pub(super) fn container(&self) -> Result<&Container, Error> {
        let missing = "the Durable Object class has no container: add it to `containers` in wrangler.jsonc";
        self.container.as_ref().ok_or_else(|| Error::new(Code::NotImplemented, missing))
    }

    /// Whether the platform says that a container runs.
    pub(super) fn runs(&self) -> bool {
        self.container.as_ref().is_some_and(Container::running)
    }

    /// Ends the container if one runs.
    pub(super) async fn end(&self) {
        let Some(container) = self.container.as_ref().filter(|container| container.running()) else {
            return;
        };
        if let Err(error) = container.end().await {
            worker::console_warn!("ending a container failed: {error}");
        }
    }

    /// Whether there is no sandbox here.
    pub(super) fn is_gone(&self) -> bool {
        self.record.borrow().is_none()
    }

    /// Whether its container is up or on the way up.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.current(), Some(State::Running | State::Starting))
    }

    fn current(&self) -> Option<State> {
        self.record.borrow().as_ref().map(|record| record.state)
    }

    fn secret(&self) -> String {
        self.record.borrow().as_ref().map(|record| record.secret.clone()).unwrap_or_default()
    }

    /// Takes a step and stores it. A sandbox that is destroyed is forgotten in the same go.
    fn advance(&self, event: Event) -> Result<Effects, Error> {
        let mut slot = self.record.borrow_mut();
        let Some(record) = slot.as_mut() else {
            // What was never created, or is gone, has no more to do than to end and wipe what may be left.
            return Ok(if event == Event::Destroy { step(State::Destroyed, event).1 } else { &[] });
        };
        let (next, effects) = step(record.state, event);
        if next == State::Destroyed {
            record.state = next;
            self.store(record)?;
            self.records.remove()?;
            *slot = None;
        } else if next != record.state {
            record.state = next;
            self.store(record)?;
        }
        Ok(effects)
    }

    /// Starts a fresh container, or waits for the agent of the one that runs.
    fn spawn_start(self: &Rc<Self>, fresh: bool) -> Result<(), Error> {
        if fresh {
            self.next_incarnation()?;
        }
        let (outcome, start) = start::start(Rc::clone(self), self.incarnation(), fresh);
        self.start.replace(Some(outcome));
        self.spawn(start);
        Ok(())
    }

    /// Moves on to the next container, which gets a secret of its own.
    fn next_incarnation(&self) -> Result<(), Error> {
        let mut slot = self.record.borrow_mut();
        let Some(record) = slot.as_mut() else { return Ok(()) };
        record.incarnation += 1;
        record.secret = random::secret();
        record.failure = None;
        self.incarnations.set(record.incarnation);
        self.store(record)
    }

    /// Stores a record that has changed, and what the directory is to be told of it.
    fn store(&self, record: &mut Record) -> Result<(), Error> {
        let now = Date::now();
        // The clock may stand still, and goes back where the object comes back on another machine.
        record.version = now.as_millis().max(self.versions.get() + 1);
        record.updated_at = timestamp(now.as_millis());
        self.versions.set(record.version);
        self.records.save(record)?;
        if !self.listing.exists() {
            return Ok(());
        }
        self.records.owe(&Entry { version: record.version, sandbox: record.describe() })
    }

    async fn started(&self) -> Result<(), Error> {
        let outcome = self.start.borrow().clone();
        match outcome {
            Some(outcome) => outcome.await.unwrap_or_else(|_| Err(fault::not_ready("the start was cut short"))),
            None => Err(Error::internal("a sandbox is starting that nobody starts")),
        }
    }

    fn terminate(&self) {
        if let Some(Err(error)) = self.container.as_ref().map(Container::terminate) {
            worker::console_warn!("asking a container to end failed: {error}");
        }
    }

    /// Hands work to the object, which owns it from then on.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.state.wait_until(work);
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

/// RFC 3339 in UTC, with milliseconds.
fn timestamp(milliseconds: u64) -> String {
    js_sys::Date::new(&(milliseconds as f64).into()).to_iso_string().into()
}

fn not_found() -> Error {
    Error::not_found("there is no such sandbox: it was never created, or was destroyed")
}
