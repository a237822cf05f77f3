//! The object's one alarm: set to the first deadline of all its parts.

use std::{rc::Rc, time::Duration};

use cabana_protocol::Error;

use super::{Platform, Rows, Supervisor};
use crate::lifecycle::{Deadline, Deadlines, Effect, Event, GRACE, Instant};

/// The alarm does not go off more often than this, whatever is due.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause between two attempts to end a container that should not run.
const LONGEST_REAP: Duration = Duration::from_mins(10);

/// How long after a reset has begun the object is loaded again.
const RELOAD_AFTER: Duration = Duration::from_secs(3);

/// What is known of the alarm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Armed {
    /// Nothing yet: the object has just come into memory.
    #[default]
    Unknown,
    /// It is not set.
    No,
    /// It goes off then.
    At(Instant),
}

impl<P: Platform, R: Rows> Supervisor<P, R> {
    /// Has the alarm go off at the deadlines of another part of the object, too, which looks by itself what is due.
    pub(in crate::sandbox) fn add_deadlines(&self, deadlines: impl Fn() -> Deadlines + 'static) {
        self.others.borrow_mut().push(Box::new(deadlines));
    }

    /// What the object is to do when.
    fn deadlines(&self) -> Deadlines {
        let lifecycle = self.store.lifecycle();
        let own = lifecycle.map(|lifecycle| lifecycle.deadlines(self.store.rules())).unwrap_or_default();
        let pause = GRACE * (1 << self.failed_ends.get().min(6));
        // Nothing else would load an object again that nobody asks for something.
        let reload = self.resetting.get().then(|| self.now() + RELOAD_AFTER);
        let own = own.with(Deadline::Reload, reload);
        let reap = self.has_stray().then(|| self.now() + pause.min(LONGEST_REAP));
        self.others.borrow().iter().fold(own.with(Deadline::Reap, reap), |all, other| all.and(&other()))
    }

    /// Whether a container runs that should not: its end is under way, has failed, or was cut short. One that the platform has lost sight of shows
    /// after the object's reset.
    pub(in crate::sandbox) fn has_stray(&self) -> bool {
        let over = self.store.lifecycle().is_none_or(|lifecycle| lifecycle.is_over());
        over && (self.platform.running() || self.resetting.get())
    }

    /// Sees to it that the alarm goes off in time.
    ///
    /// One that goes off too early is left as it is, and looks again then: a request that puts the sleep off is not to cost a write.
    pub(in crate::sandbox) fn rearm(self: &Rc<Self>) {
        let early_enough = match (self.deadlines().next(), self.armed.get()) {
            (Some(next), Armed::At(at)) => at <= next,
            (None, Armed::No) => true,
            (None, Armed::Unknown) => self.store.is_empty(),
            _ => false,
        };
        if !early_enough {
            self.spawn(|this| async move { this.report(this.arm().await) });
        }
    }

    /// Sets the alarm.
    pub(in crate::sandbox) async fn arm(&self) -> Result<(), Error> {
        if self.armed.get() == Armed::Unknown {
            let at = self.platform.alarm().await?;
            self.armed.set(at.map_or(Armed::No, Armed::At));
        }
        let now = self.now();
        let next = self.deadlines().next().map(|next| next.max(now + SHORTEST_PAUSE));
        let armed = next.map_or(Armed::No, Armed::At);
        if let (Some(next), Armed::At(at)) = (next, self.armed.get())
            && at <= next
            && at > now
        {
            return Ok(());
        }
        if self.armed.replace(armed) == armed {
            return Ok(());
        }
        self.platform.set_alarm(next).await
    }

    /// The storage was freed, and the alarm went with it.
    pub(in crate::sandbox) fn disarmed(&self) {
        self.armed.set(Armed::No);
    }

    /// The alarm has gone off: counts that.
    pub(in crate::sandbox) fn alarm_went_off(&self) {
        self.armed.set(Armed::No);
        self.store.count(|record| record.wakeups.alarms += 1);
    }

    /// Does what is due of the sandbox's life. True where the sandbox was forgotten, and its storage may be freed.
    pub(in crate::sandbox) async fn tick(self: &Rc<Self>) -> Result<bool, Error> {
        if self.has_stray() {
            self.apply(Event::Loaded { container: true })?;
        }
        let effects = self.transition(Event::Tick)?;
        if effects.contains(&Effect::Wipe) {
            return Ok(self.end_container().await);
        }
        if effects.contains(&Effect::Ask) {
            let limit = self.timings().probe_after;
            self.look_at_agent(limit).await;
            if !self.is_trusted() {
                self.doubt();
            }
        } else {
            self.run_effects(effects)?;
        }
        Ok(false)
    }
}
