//! Carries out what the lifecycle asks for.

use std::rc::Rc;

use cabana_protocol::{
    Error,
    sandbox::{LifeEvent, Reason, Setup, State, Wakeups},
};

use super::{
    describe::rfc3339,
    life::Life,
    now,
    start::{self, see_off},
};
use crate::{
    lifecycle::{self, Effect, Effects, Event, Lifecycle},
    random,
};

impl Life {
    /// Lets an event happen and sees to its effects, without waiting for them.
    pub(super) fn happen(self: &Rc<Self>, event: Event) -> Result<(), Error> {
        let effects = self.advance(event)?;
        self.carry_out(effects)
    }

    /// The same, for the container of one start. Word of an earlier container is late, and ignored.
    pub(super) fn happen_to(self: &Rc<Self>, incarnation: u64, event: Event) -> Result<(), Error> {
        if self.incarnation() == incarnation { self.happen(event) } else { Ok(()) }
    }

    pub(super) fn carry_out(self: &Rc<Self>, effects: Effects) -> Result<(), Error> {
        let incarnation = self.incarnation();
        for &effect in effects {
            let life = Rc::clone(self);
            match effect {
                Effect::Start => self.spawn_start(true)?,
                Effect::Resume => self.spawn_start(false)?,
                Effect::Terminate => self.spawn(see_off(life, incarnation)),
                Effect::End => self.spawn(async move {
                    life.end_of(incarnation).await;
                    life.note(life.happen_to(incarnation, Event::Ended(Reason::Evicted)));
                }),
                Effect::Keep => {
                    let absence = self.lifecycle().map(|lifecycle| lifecycle.absence(&self.rules)).unwrap_or_default();
                    self.spawn(async move { life.keep(absence).await });
                }
                // The alarm's alone, and the destroyer's, who wait for it.
                Effect::Ask | Effect::Wipe => {}
            }
        }
        Ok(())
    }

    /// Takes a step and stores it. A sandbox that is destroyed by its owner is forgotten in the same go.
    pub(super) fn advance(self: &Rc<Self>, event: Event) -> Result<Effects, Error> {
        let mut slot = self.record.borrow_mut();
        let Some(record) = slot.as_mut() else {
            return Ok(lifecycle::without(&event));
        };
        let before = record.lifecycle.clone();
        let (after, effects) = before.clone().step(&self.rules, event, now());
        record.lifecycle = after.clone();
        let moved = (before.state, before.since) != (after.state, after.since);
        if moved {
            self.remember(&after)?;
            self.give_back(&record.tenant, before.state, after.state);
        }
        if effects.contains(&Effect::Wipe) {
            self.store(record)?;
            self.records.remove()?;
            *slot = None;
        } else if !after.is_but_used_since(&before) {
            self.store(record)?;
        } else {
            self.store_use(record)?;
        }
        drop(slot);
        if moved {
            self.followers.tell();
        }
        self.rearm();
        self.list();
        Ok(effects)
    }

    /// Puts a change into the sandbox's history.
    pub(super) fn remember(&self, lifecycle: &Lifecycle) -> Result<(), Error> {
        let (state, reason) = (lifecycle.state, lifecycle.reason.clone());
        self.records.append(&LifeEvent { id: 0, at: rfc3339(lifecycle.since), state, reason })
    }

    /// Counts what brought the object to work.
    pub(super) fn wake_up(&self, count: impl FnOnce(&mut Wakeups)) -> Result<(), Error> {
        match self.record.borrow_mut().as_mut() {
            Some(record) => {
                count(&mut record.wakeups);
                self.records.save(record)
            }
            None => Ok(()),
        }
    }

    /// Starts a fresh container, or waits for the agent of the one that runs.
    fn spawn_start(self: &Rc<Self>, fresh: bool) -> Result<(), Error> {
        self.answered_at.set(None);
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
        // The clone, and what was set up, went with the container before.
        record.setup = record.setup.take().map(|_| Setup::default());
        self.incarnations.set(record.incarnation);
        self.store(record)
    }

    pub(super) fn current(&self) -> Option<State> {
        self.record.borrow().as_ref().map(|record| record.lifecycle.state)
    }
}
