//! The record of the sandbox: the one owner of what is stored, in memory and on disk. It knows nothing of containers.
//!
//! Each change is made and stored in one go, with what follows from it: an event of the history, and what the directory is to be told.
//! No borrow lives across an `await`.

use std::{
    cell::{Cell, Ref, RefCell},
    time::Duration,
};

use cabana_protocol::{
    Error, Tenant,
    sandbox::{LifeEvent, Sandbox, State},
};

use super::{platform::Rows, record::Record};
use crate::{
    Principal,
    clock::rfc3339,
    directory::Entry,
    lifecycle::{self, Effect, Effects, Event, Instant, Lifecycle, Rules},
};

/// How old a use must be before it is stored, as a part of the time after which the sandbox sleeps. The agent knows of its operations
/// without that.
const USE_IS_STORED_AFTER: u32 = 10;

/// A step of the sandbox's life that was taken and stored.
pub(super) struct Step {
    /// The states before and after.
    pub(super) states: (State, State),
    /// The state that it has come into, if it has come into one.
    pub(super) event: Option<LifeEvent>,
    /// Whose the sandbox is, or was.
    pub(super) tenant: Tenant,
    /// What to do.
    pub(super) effects: Effects,
}

/// The record, and where it is stored.
pub(super) struct Store<R> {
    rows: R,
    rules: Rules,
    /// Whether the deployment has a directory.
    listed: bool,
    /// `None` where no sandbox was created, or it was destroyed.
    record: RefCell<Option<Record>>,
    /// The highest incarnation since the object came into memory, over all sandboxes that were created and destroyed under its name: word of
    /// an earlier one's container must not be taken for word of this one's.
    incarnations: Cell<u64>,
    /// The highest version of a record, in the same way.
    versions: Cell<u64>,
    /// The last use that is stored.
    use_stored: Cell<Instant>,
}

impl<R: Rows> Store<R> {
    /// Takes up what is stored.
    pub(super) fn load(rows: R, rules: Rules, listed: bool) -> Result<Self, Error> {
        let record = rows.load()?;
        Ok(Self {
            rows,
            rules,
            listed,
            incarnations: Cell::new(record.as_ref().map_or(0, |record| record.incarnation)),
            versions: Cell::new(record.as_ref().map_or(0, |record| record.version)),
            use_stored: Cell::new(record.as_ref().map(|record| record.lifecycle.active_at).unwrap_or_default()),
            record: RefCell::new(record),
        })
    }

    /// The rows, for what stands beside the record.
    pub(super) fn rows(&self) -> &R {
        &self.rows
    }

    /// The rules that the sandbox's life goes by.
    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The record. Fails with `not_found`.
    pub(super) fn record(&self) -> Result<Ref<'_, Record>, Error> {
        Ref::filter_map(self.record.borrow(), Option::as_ref).map_err(|_| not_found())
    }

    /// Whether there is no sandbox.
    pub(super) fn is_empty(&self) -> bool {
        self.record.borrow().is_none()
    }

    /// The sandbox as callers see it. Fails with `not_found`.
    pub(super) fn describe(&self, now: Instant) -> Result<Sandbox, Error> {
        Ok(self.record()?.describe(&self.rules, now))
    }

    /// Lets in whoever sees the sandbox, and everyone where there is none: there is nothing to see.
    ///
    /// Fails with `not_found`, in the very words in which it says that there is none.
    pub(super) fn admit(&self, principal: &Principal) -> Result<(), Error> {
        let hidden = self.record().is_ok_and(|record| !principal.sees(&record.tenant));
        if hidden { Err(not_found()) } else { Ok(()) }
    }

    /// Whose the sandbox is; `None` where there is none.
    pub(super) fn owner(&self) -> Option<Tenant> {
        self.record().ok().map(|record| record.tenant.clone())
    }

    /// Where it is in its life; `None` where there is no sandbox.
    pub(super) fn lifecycle(&self) -> Option<Lifecycle> {
        self.record().ok().map(|record| record.lifecycle.clone())
    }

    /// The state; `None` where there is no sandbox.
    pub(super) fn state(&self) -> Option<State> {
        self.record().ok().map(|record| record.lifecycle.state)
    }

    /// Which container the sandbox is at; 0 where there is no sandbox.
    pub(super) fn incarnation(&self) -> u64 {
        self.record().map_or(0, |record| record.incarnation)
    }

    /// Puts a new sandbox in place of what was there, with an incarnation of its own.
    pub(super) fn insert(&self, mut record: Record, now: Instant) -> Result<(), Error> {
        record.incarnation = self.incarnations.get() + 1;
        let event = event_of(&record.lifecycle);
        self.save(&mut record, Some(&event), now)?;
        self.incarnations.set(record.incarnation);
        self.record.replace(Some(record));
        Ok(())
    }

    /// Changes the record and stores it, unless nothing has changed; what cannot be stored is not changed. Fails with `not_found`.
    pub(super) fn update(&self, now: Instant, change: impl FnOnce(&mut Record) -> Result<(), Error>) -> Result<(), Error> {
        let mut slot = self.record.borrow_mut();
        let record = slot.as_mut().ok_or_else(not_found)?;
        let mut changed = record.clone();
        change(&mut changed)?;
        if changed == *record {
            return Ok(());
        }
        self.save(&mut changed, None, now)?;
        self.incarnations.set(changed.incarnation.max(self.incarnations.get()));
        *record = changed;
        Ok(())
    }

    /// Changes what concerns nobody but the object, and neither the version nor the directory.
    pub(super) fn count(&self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.record.borrow_mut().as_mut() {
            change(record);
        }
    }

    /// Takes a step in the sandbox's life and stores it. A sandbox that is destroyed by its owner is forgotten in the same go. `Err` holds
    /// what to do where there is no sandbox.
    pub(super) fn step(&self, event: Event, now: Instant) -> Result<Result<Step, Effects>, Error> {
        let mut slot = self.record.borrow_mut();
        let Some(record) = slot.as_mut() else { return Ok(Err(lifecycle::without(&event))) };
        let before = record.lifecycle.clone();
        let (after, effects) = before.clone().step(&self.rules, event, now);
        let moved = (before.state, before.since) != (after.state, after.since);
        let event = moved.then(|| event_of(&after));
        let step = Step { states: (before.state, after.state), event: event.clone(), tenant: record.tenant.clone(), effects };
        if effects.contains(&Effect::Wipe) {
            let mut last = Record { lifecycle: after, ..record.clone() };
            let entry = self.stamp(&mut last, now);
            self.rows.remove(entry.as_ref())?;
            *slot = None;
        } else if after.is_but_used_since(&before) {
            record.lifecycle = after;
            self.store_use(record)?;
        } else {
            let mut changed = Record { lifecycle: after, ..record.clone() };
            self.save(&mut changed, event.as_ref(), now)?;
            *record = changed;
        }
        Ok(Ok(step))
    }

    /// Counts a use that begins or is over. It is stored now and then only: a request is not to cost a write.
    pub(super) fn touch(&self, change: impl FnOnce(&mut Lifecycle)) -> Result<(), Error> {
        let mut slot = self.record.borrow_mut();
        let Some(record) = slot.as_mut() else { return Ok(()) };
        change(&mut record.lifecycle);
        self.store_use(record)
    }

    /// Stores when the sandbox was last used, if what is stored of that is too old.
    fn store_use(&self, record: &Record) -> Result<(), Error> {
        let lifecycle = &record.lifecycle;
        let pause: Duration = lifecycle.sleep_after(&self.rules) / USE_IS_STORED_AFTER;
        if lifecycle.active_at.since(self.use_stored.get()) < pause {
            return Ok(());
        }
        self.use_stored.set(lifecycle.active_at);
        self.rows.save(record, None, None)
    }

    fn save(&self, record: &mut Record, event: Option<&LifeEvent>, now: Instant) -> Result<(), Error> {
        let entry = self.stamp(record, now);
        self.rows.save(record, entry.as_ref(), event)
    }

    /// Gives a record that has changed its version, and says what the directory is to be told of it.
    fn stamp(&self, record: &mut Record, now: Instant) -> Option<Entry> {
        record.updated_at = now;
        // The clock may stand still, and goes back where the object comes back on another machine.
        record.version = now.0.max(self.versions.get() + 1);
        self.versions.set(record.version);
        // Uses put the sleep off, and the directory is not told of uses.
        let describe = || Sandbox { sleeps_at: None, ..record.describe(&self.rules, now) };
        self.listed.then(|| Entry { version: record.version, sandbox: describe() })
    }
}

fn event_of(lifecycle: &Lifecycle) -> LifeEvent {
    LifeEvent { id: 0, at: rfc3339(lifecycle.since), state: lifecycle.state, reason: lifecycle.reason.clone() }
}

pub(super) fn not_found() -> Error {
    Error::not_found("there is no such sandbox: it was never created, or was destroyed").because("no_such_sandbox")
}
