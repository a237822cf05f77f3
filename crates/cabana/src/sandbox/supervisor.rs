//! The one owner of the sandbox's life: it takes the steps of the lifecycle, carries out what they ask for, and lends the agent to whoever
//! needs it.
//!
//! A Durable Object runs on one thread, and other requests get their turn at every `await`. A start belongs to the object and not to the
//! request that caused it: requests wait for its outcome, and one that is given up takes nothing with it.
//!
//! Nothing here trusts the platform to answer: every call to it has a limit, after which the object is reset, once in a while, to reach the
//! platform over new connections.

mod alarm;
mod ending;
mod lease;
mod probing;
mod saving;
mod start;
#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use cabana_protocol::{
    Code, Error, Tenant,
    network::NetworkLayers,
    sandbox::{Reason, Sandbox, Setup, State},
};
use futures_util::{
    FutureExt,
    future::{self, AbortHandle, Either, LocalBoxFuture, Shared},
};
use serde_json::json;

pub(super) use self::lease::{Activity, Lease};
use self::{alarm::Armed, start::Outcome};
use super::{
    platform::{Platform, Rows},
    signal::Signal,
    store::{Store, not_found},
};
use crate::{
    fault::{self, Condition},
    lifecycle::{Deadlines, Effect, Effects, Event, Instant, Lifecycle, Liveness, Probe, Timings},
    log, random,
    tenant::place::Place,
};

/// The object is reset no more often than this.
const RESET_PAUSE: Duration = Duration::from_mins(10);

/// Work that all who need it share.
type Joint<T> = RefCell<Option<Shared<LocalBoxFuture<'static, T>>>>;

/// The supervisor of one sandbox.
pub(super) struct Supervisor<P, R> {
    platform: P,
    store: Rc<Store<R>>,
    /// How long a request waits for a start, or for an end.
    patience: Result<Duration, Error>,
    liveness: RefCell<Liveness>,
    /// The one who probes the agent, if anyone does.
    prober: Joint<()>,
    /// The start under way, or the last one.
    start: RefCell<Option<Outcome>>,
    /// What the platform lacks for the start under way, and its words.
    condition: RefCell<Option<(Condition, String)>>,
    /// The snapshot that is under way.
    saving: Joint<()>,
    /// The end of a container that is under way: whether it has come.
    ending: Joint<bool>,
    /// How often in a row the platform did not end a container.
    failed_ends: Cell<u32>,
    /// Whether the agent has answered although the platform says that no container runs.
    out_of_sight: Cell<bool>,
    /// Whether somebody learns why the container has ended.
    inquiring: Cell<bool>,
    resetting: Cell<bool>,
    leases: Cell<usize>,
    /// Ends the watch over an agent that requests wait for.
    watch: RefCell<Option<AbortHandle>>,
    armed: Cell<Armed>,
    /// Deadlines of the object's other parts.
    others: RefCell<Vec<Box<dyn Fn() -> Deadlines>>>,
    /// Each step into a state, and the end of a doubt.
    changed: Signal,
    /// Each step into a state, for those who follow the history.
    followers: Signal,
    /// Told of each change that is stored.
    stored: RefCell<Option<Box<dyn Fn()>>>,
    /// Told when the object is to be reset.
    resets: RefCell<Option<Box<dyn Fn()>>>,
}

impl<P: Platform, R: Rows> Supervisor<P, R> {
    /// Takes up the sandbox where the object left it. `patience`: how long a request waits for a start.
    pub(super) fn load(platform: P, store: Rc<Store<R>>, patience: Result<Duration, Error>) -> Result<Rc<Self>, Error> {
        let reset_at = store.rows().reset_at()?;
        let reset = store.lifecycle().is_some_and(|lifecycle| reset_at.is_some_and(|at| at >= lifecycle.since));
        let supervisor = Rc::new(Self {
            platform,
            store,
            patience,
            liveness: RefCell::new(Liveness::new(reset)),
            prober: Joint::default(),
            start: RefCell::default(),
            condition: RefCell::default(),
            saving: Joint::default(),
            ending: Joint::default(),
            failed_ends: Cell::default(),
            out_of_sight: Cell::default(),
            inquiring: Cell::default(),
            resetting: Cell::default(),
            leases: Cell::default(),
            watch: RefCell::default(),
            armed: Cell::default(),
            others: RefCell::default(),
            changed: Signal::default(),
            followers: Signal::default(),
            stored: RefCell::default(),
            resets: RefCell::default(),
        });
        // Stored with the next change: a write here would delay whatever the object was loaded for.
        supervisor.store.count(|record| record.wakeups.loads += 1);
        supervisor.apply(Event::Loaded { container: supervisor.platform.running() })?;
        supervisor.set_rules();
        Ok(supervisor)
    }

    /// The record.
    pub(super) fn store(&self) -> &Rc<Store<R>> {
        &self.store
    }

    /// What is around the object.
    pub(super) fn platform(&self) -> &P {
        &self.platform
    }

    /// Each step into a state, for those who follow the history; how many these are, is limited.
    pub(super) fn followers(&self) -> &Signal {
        &self.followers
    }

    /// Has this called after each change that is stored.
    pub(super) fn on_stored(&self, told: impl Fn() + 'static) {
        self.stored.replace(Some(Box::new(told)));
    }

    /// Has this called when the object is to be reset in a moment.
    pub(super) fn on_reset(&self, told: impl Fn() + 'static) {
        self.resets.replace(Some(Box::new(told)));
    }

    /// Whether the container is up or on the way up.
    pub(super) fn is_up(&self) -> bool {
        self.store.record().is_ok_and(|record| record.lifecycle.is_up())
    }

    /// Lets an event happen and sees to its effects, without waiting for them.
    pub(super) fn apply(self: &Rc<Self>, event: Event) -> Result<(), Error> {
        let effects = self.transition(event)?;
        self.run_effects(effects)
    }

    /// The same, for the container of one start. Word of an earlier container is late, and ignored.
    fn apply_for(self: &Rc<Self>, incarnation: u64, event: Event) {
        if self.store.incarnation() == incarnation {
            self.report(self.apply(event));
        }
    }

    /// The sandbox as callers see it, after a look at the agent of one that runs: it knows how long it has had nothing to do. Looking wakes
    /// nothing and ends nothing: only the platform's word that the container has ended counts here.
    pub(super) async fn look(self: &Rc<Self>) -> Result<Sandbox, Error> {
        let mut busy = false;
        if self.store.state() == Some(State::Running) && !self.resetting.get() {
            busy = self.look_at_agent(probing::LOOK).await;
        }
        let sandbox = self.store.describe(self.now())?;
        Ok(Sandbox { sleeps_at: sandbox.sleeps_at.filter(|_| !busy), ..sandbox })
    }

    /// Stops the container, once its files are saved, and waits until it has ended. Does nothing where none runs.
    ///
    /// Fails with `not_found`, and with `container_not_ready` where the platform has not ended it in time; the stop goes on. The same where its
    /// files cannot be saved: it stays up.
    pub(super) async fn stop(self: &Rc<Self>) -> Result<(), Error> {
        let patience = self.patience.clone()?;
        self.apply(Event::Stop)?;
        let stopped = async {
            loop {
                let changed = self.changed.wait();
                match self.store.state() {
                    None => return Err(not_found()),
                    _ if self.resetting.get() => return Err(being_reset()),
                    Some(State::Stopping) => drop(changed.await),
                    Some(_) => return self.check_stopped(),
                }
            }
        };
        match self.limited(patience, stopped).await {
            Some(outcome) => outcome,
            None => Err(fault::not_ready(format!("the sandbox is still stopping after {} ms", patience.as_millis()))),
        }
    }

    /// Forgets the sandbox at once, and ends its container, for which it waits as long as for a start. What the platform does not end in
    /// that time, or while the object is being reset, is ended later.
    pub(super) async fn destroy(self: &Rc<Self>) -> Result<(), Error> {
        let out_of_sight = self.is_up() && !self.platform.running();
        let secret = self.store.record().ok().filter(|_| out_of_sight).map(|record| record.secret.clone());
        let effects = self.transition(Event::Destroy)?;
        if let Some(secret) = secret
            && let Probe::Healthy(_) = self.platform.probe(&secret, probing::LOOK).await
        {
            // It is ended once the platform sees it again.
            self.reset("the platform has lost sight of a container that is to end");
        }
        if effects.contains(&Effect::End) && !self.resetting.get() {
            let patience = self.patience.clone().unwrap_or_default();
            self.limited(patience, self.end_container()).await;
        }
        Ok(())
    }

    /// Takes a step and stores it.
    fn transition(self: &Rc<Self>, event: Event) -> Result<Effects, Error> {
        let step = match self.store.step(event, self.now())? {
            Ok(step) => step,
            Err(effects) => return Ok(effects),
        };
        let (before, after) = step.states;
        let runs = |state| matches!(state, State::Starting | State::Running | State::Stopping);
        if let Some(event) = &step.event {
            if runs(before) && !runs(after) {
                self.platform.release(Place::Running, &step.tenant);
            }
            if after == State::Destroyed {
                self.platform.release(Place::Sandbox, &step.tenant);
            }
            self.changed.notify();
            self.followers.notify();
            self.platform.moved(before, event);
        }
        self.rearm();
        self.tell_stored();
        Ok(step.effects)
    }

    fn run_effects(self: &Rc<Self>, effects: Effects) -> Result<(), Error> {
        let incarnation = self.store.incarnation();
        for &effect in effects {
            match effect {
                Effect::Start => self.spawn_start(true)?,
                Effect::Resume => self.spawn_start(false)?,
                Effect::Save => self.spawn(|this| async move { this.save(incarnation).await }),
                Effect::Terminate => self.spawn(|this| async move { this.stop_gracefully(incarnation).await }),
                Effect::End => self.spawn(|this| async move {
                    if this.end_of(incarnation).await {
                        this.apply_for(incarnation, Event::Ended(Reason::Evicted));
                    }
                }),
                Effect::ExtendInactivityTimeout => self.spawn(|this| async move { this.extend_inactivity_timeout().await }),
                Effect::Renew => self.spawn(|this| async move { this.renew().await }),
                Effect::Inquire => self.spawn(|this| async move { this.inquire(incarnation).await }),
                // The alarm's alone, and the destroyer's, who wait for it.
                Effect::Ask | Effect::Wipe => {}
            }
        }
        Ok(())
    }

    /// Starts a fresh container, or waits for the agent of the one that runs.
    fn spawn_start(self: &Rc<Self>, fresh: bool) -> Result<(), Error> {
        if fresh {
            self.liveness.replace(Liveness::default());
            self.out_of_sight.set(false);
            self.store.update(self.now(), |record| {
                record.incarnation += 1;
                record.secret = random::secret();
                if record.lifecycle.files.saved.is_none() {
                    // The clone, and what was set up, went with the container before.
                    record.setup = record.setup.take().map(|_| Setup::default());
                }
                record.network.is_ruled = self.platform.layers(&record.kind, &record.network).has_rules();
                Ok(())
            })?;
            self.tell_stored();
        }
        self.condition.replace(None);
        let (outcome, start) = start::start(Rc::clone(self), self.store.incarnation(), fresh);
        self.start.replace(Some(outcome));
        self.platform.spawn(start.boxed_local());
        Ok(())
    }

    /// Has the container outlive its object, also one that the platform has lost sight of: a reset is what finds it again.
    async fn extend_inactivity_timeout(&self) {
        let Some(lifecycle) = self.store.lifecycle().filter(Lifecycle::is_up) else { return };
        let span = lifecycle.inactivity_timeout(self.store.rules());
        let failed = match self.limited(self.timings().platform_limit, self.platform.set_inactivity_timeout(span)).await {
            Some(Ok(())) => return,
            Some(Err(words)) => words,
            None => "the platform does not answer".to_owned(),
        };
        log::error(None, &format!("the inactivity timeout was not set, so that the container may end with its object: {failed}"));
    }

    /// Has the platform judge what leaves the container by the present rules. One that was started without rules keeps its network until its next
    /// start.
    pub(super) fn set_rules(self: &Rc<Self>) {
        let Ok(record) = self.store.record() else { return };
        if !record.network.is_ruled || !self.platform.running() {
            return;
        }
        let (tenant, rules) = (record.tenant.clone(), self.platform.layers(&record.kind, &record.network));
        drop(record);
        self.judge_by(&tenant, &rules, "the network rules were not replaced, so that the earlier ones hold");
    }

    /// Asks the platform at once to judge what leaves the container by these rules. `otherwise`: what it means where that fails.
    fn judge_by(self: &Rc<Self>, tenant: &Tenant, rules: &NetworkLayers, otherwise: &'static str) {
        let set = self.platform.set_rules(tenant, rules);
        self.spawn(|this| async move {
            let failed = match this.limited(this.timings().platform_limit, set).await {
                Some(Ok(())) => return,
                Some(Err(words)) => words,
                None => "the platform does not answer".to_owned(),
            };
            log::error(None, &format!("{otherwise}: {failed}"));
        });
    }

    /// Resets the object in a moment, unless that was done a while ago: then it did not help. False where it is not reset.
    fn reset(self: &Rc<Self>, why: &str) -> bool {
        let now = self.now();
        let rows = self.store.rows();
        let recent = rows.reset_at().map(|at| at.is_some_and(|at| now.since(at) < RESET_PAUSE));
        if self.resetting.get() || recent.unwrap_or(true) {
            return self.resetting.get();
        }
        if let Err(error) = rows.note_reset(now) {
            log::error(None, &format!("the object is not reset, as that cannot be noted: {}", error.message));
            return false;
        }
        log::error(None, &format!("the object is reset: {why}"));
        self.resetting.set(true);
        // The calls that wait are told before everything breaks.
        self.changed.notify();
        if let Some(told) = self.resets.borrow().as_ref() {
            told();
        }
        self.rearm();
        self.platform.reset(why);
        true
    }

    /// Waits no longer than this. What is given up goes on at the platform.
    async fn limited<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        match future::select(pin!(work), self.platform.sleep(limit)).await {
            Either::Left((outcome, _)) => Some(outcome),
            Either::Right(_) => None,
        }
    }

    fn spawn<F: Future<Output = ()> + 'static>(self: &Rc<Self>, work: impl FnOnce(Rc<Self>) -> F) {
        self.platform.spawn(work(Rc::clone(self)).boxed_local());
    }

    fn tell_stored(&self) {
        if let Some(told) = self.stored.borrow().as_ref() {
            told();
        }
    }

    /// Logs what failed where nobody is left to be told.
    fn report(&self, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            log::error(None, &format!("a change of the sandbox failed: {}", error.message));
        }
    }

    fn now(&self) -> Instant {
        self.platform.now()
    }

    fn timings(&self) -> &Timings {
        &self.store.rules().timings
    }
}

fn being_reset() -> Error {
    fault::not_ready("the sandbox's object is being reset")
}

fn expired() -> Error {
    let details = json!({ "reason": "expired" });
    Error::new(Code::Gone, "the sandbox's lifetime is over").with_details(details)
}

fn backing_off(lifecycle: &Lifecycle, retry_at: Instant, now: Instant) -> Error {
    let wait = u64::try_from(retry_at.since(now).as_millis()).unwrap_or(u64::MAX).max(1);
    let message = "the sandbox has failed again and again; it is not started for a while";
    let error = Error::new(Code::ContainerNotReady, message).with_details(json!({ "retry_after_ms": wait }));
    match &lifecycle.failure {
        Some((reason, _)) => error.with_details(reason.details()),
        None => error,
    }
}
