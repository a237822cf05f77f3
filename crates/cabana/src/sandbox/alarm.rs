//! The object's one alarm: set to the first deadline of all its parts, and what is done when it goes off.

use std::{rc::Rc, time::Duration};

use cabana_protocol::Error;

use super::{life::Life, now, wake::HANG};
use crate::lifecycle::{Deadline, Deadlines, Effect, Event, GRACE, Instant};

/// The alarm does not go off more often than this, whatever is due.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

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

impl Life {
    /// What the object is to do when. Every part that wants to be woken adds its instants here, and looks in [`Self::on_alarm`] what is due.
    fn deadlines(&self) -> Deadlines {
        let lifecycle = self.lifecycle();
        let forget = self.audit.deadline(lifecycle.is_some());
        let reap = self.has_stray().then(|| now() + GRACE);
        let life = lifecycle.map(|lifecycle| lifecycle.deadlines(&self.rules)).unwrap_or_default();
        life.with(Deadline::Reap, reap)
            .with(Deadline::Tell, self.listing.retry_at())
            .with(Deadline::Credentials, self.credentials_end.get())
            .with(Deadline::Trim, forget)
    }

    /// Sees to it that the alarm goes off in time.
    ///
    /// One that goes off too early is left as it is, and looks again then: a request that puts the sleep off is not to cost a write.
    pub(super) fn rearm(self: &Rc<Self>) {
        let early_enough = match (self.deadlines().next(), self.armed.get()) {
            (Some(next), Armed::At(at)) => at <= next,
            (None, Armed::No) => true,
            (None, Armed::Unknown) => self.is_gone(),
            _ => false,
        };
        if early_enough {
            return;
        }
        let life = Rc::clone(self);
        self.spawn(async move { life.note(life.arm().await) });
    }

    pub(super) async fn arm(&self) -> Result<(), Error> {
        if self.armed.get() == Armed::Unknown {
            let at = self.records.alarm().await?;
            self.armed.set(at.map_or(Armed::No, |at| Armed::At(Instant(at))));
        }
        let next = self.deadlines().next().map(|next| next.max(now() + SHORTEST_PAUSE));
        let armed = next.map_or(Armed::No, Armed::At);
        if let (Some(next), Armed::At(at)) = (next, self.armed.get())
            && at <= next
            && at > now()
        {
            return Ok(());
        }
        if self.armed.replace(armed) == armed {
            return Ok(());
        }
        self.records.set_alarm(next.map(|next| next.0)).await
    }

    /// The alarm has gone off: does what is due, and sets it again.
    pub(super) async fn on_alarm(self: &Rc<Self>) -> Result<(), Error> {
        self.armed.set(Armed::No);
        self.wake_up(|wakeups| wakeups.alarms += 1)?;
        self.listing.retry();
        self.list();
        if self.deadlines().is_due(Deadline::Trim, now()) && self.audit.trim()? && !self.records.exist()? {
            return self.free().await;
        }
        if self.has_stray() {
            self.happen(Event::Loaded { container: true })?;
        }
        let effects = self.advance(Event::Tick)?;
        if effects.contains(&Effect::Wipe) {
            self.end().await;
            self.wipe().await?;
            return self.arm().await;
        }
        if effects.contains(&Effect::Ask) {
            let finding = self.examine(HANG).await;
            let event = self.learn(finding).await;
            self.happen(event)?;
        } else {
            self.carry_out(effects)?;
        }
        self.arm().await
    }
}
