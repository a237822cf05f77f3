//! What is to happen when. A Durable Object has one alarm, and several parts that each want to be woken: every part says its own
//! instants, and the alarm is set to the first of all.

use std::{collections::BTreeMap, time::Duration};

use cabana_protocol::sandbox::State;

use super::{ASK_AGAIN_AFTER, END_AGAIN_AFTER, GRACE, Instant, KEEP_EVERY, Lifecycle, RETENTION, Rules};

/// What an instant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deadline {
    /// Nobody has asked anything for the sandbox's time: it goes to sleep, unless its agent knows better.
    Sleep,
    /// The sandbox's life ends.
    Expire,
    /// The platform is told again that the container is still wanted.
    ExtendInactivityTimeout,
    /// A start has taken too long.
    GiveUp,
    /// A snapshot of the files is due, or one that was begun has not come to an end.
    Save,
    /// The platform forgets the sandbox's files unless they are used.
    Renew,
    /// Snapshots of the list are too old, or are to be renewed.
    Retain,
    /// A container that was asked to end is ended.
    Kill,
    /// A container that should have ended is looked for.
    Reap,
    /// An object that is being reset is loaded again.
    Reload,
    /// What is remembered of a sandbox that has expired is forgotten.
    Forget,
    /// The directory is told again what it could not be told.
    Tell,
    /// The credentials of a socket end: it is closed.
    Credentials,
    /// What is too old of the audit is forgotten.
    Trim,
}

/// Named instants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deadlines(BTreeMap<Deadline, Instant>);

impl Deadlines {
    /// Adds one, if there is one; of two for the same purpose, the earlier counts.
    #[must_use]
    pub fn with(mut self, deadline: Deadline, at: impl Into<Option<Instant>>) -> Self {
        if let Some(at) = at.into() {
            let kept = self.0.entry(deadline).or_insert(at);
            *kept = at.min(*kept);
        }
        self
    }

    /// These and the others; of two for the same purpose, the earlier counts.
    #[must_use]
    pub fn and(self, others: &Self) -> Self {
        others.0.iter().fold(self, |all, (deadline, at)| all.with(*deadline, *at))
    }

    /// The instant of this purpose.
    pub fn get(&self, deadline: Deadline) -> Option<Instant> {
        self.0.get(&deadline).copied()
    }

    /// Whether this one has come.
    pub fn is_due(&self, deadline: Deadline, now: Instant) -> bool {
        self.get(deadline).is_some_and(|at| at <= now)
    }

    /// The first of all: what the alarm is set to.
    pub fn next(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }
}

impl Lifecycle {
    /// What is to happen when, if nothing happens before.
    pub fn deadlines(&self, rules: &Rules) -> Deadlines {
        let expire = self.policy.max_lifetime_ms.map(|lifetime| self.created_at + Duration::from_millis(lifetime));
        let deadlines = self.file_deadlines(rules, Deadlines::default());
        match self.state {
            State::Created | State::Sleeping | State::Failed => {
                deadlines.with(Deadline::Expire, expire).with(Deadline::Renew, self.renew_at(rules))
            }
            State::Starting => {
                // The start itself keeps the limit; this is for one that was cut short.
                let give_up = self.since + rules.start_limit * 2;
                deadlines.with(Deadline::Expire, expire).with(Deadline::GiveUp, give_up)
            }
            State::Running => {
                let asked_again = self.unseen_at + ASK_AGAIN_AFTER;
                let sleep = (!self.policy.keep_alive)
                    .then(|| (self.active_at + self.sleep_after(rules)).max(asked_again).max(self.save_retry_at()));
                deadlines
                    .with(Deadline::Expire, expire)
                    .with(Deadline::Sleep, sleep)
                    .with(Deadline::ExtendInactivityTimeout, self.kept_at + KEEP_EVERY)
            }
            State::Stopping if self.files.unsaved => deadlines.with(Deadline::Expire, expire),
            State::Stopping => {
                let again = END_AGAIN_AFTER * (1 << self.ends.saturating_sub(1).min(5));
                let kill = (self.since.max(self.released_at) + GRACE).max(self.ended_at + again);
                deadlines.with(Deadline::Expire, expire).with(Deadline::Kill, kill)
            }
            State::Destroyed => deadlines.with(Deadline::Forget, self.since + RETENTION),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_next() {
        let deadlines = Deadlines::default();
        assert_eq!(deadlines.next(), None);
        let deadlines = deadlines.with(Deadline::Sleep, Instant(7)).with(Deadline::Expire, Instant(5)).with(Deadline::Kill, None);
        assert_eq!((deadlines.next(), deadlines.get(Deadline::Kill)), (Some(Instant(5)), None));
        let deadlines = deadlines.with(Deadline::Sleep, Instant(3)).with(Deadline::Sleep, Instant(9));
        assert_eq!((deadlines.next(), deadlines.get(Deadline::Sleep)), (Some(Instant(3)), Some(Instant(3))));
        assert!(deadlines.is_due(Deadline::Expire, Instant(5)) && !deadlines.is_due(Deadline::Expire, Instant(4)));
    }
}
