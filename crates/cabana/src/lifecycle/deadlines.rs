//! What is to happen when. A Durable Object has one alarm, and several parts that each want to be woken: every part says its own
//! instants, and the alarm is set to the first of all.

use std::collections::BTreeMap;

use super::Instant;

/// What an instant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deadline {
    /// Nobody has asked anything for the sandbox's time: it goes to sleep, unless its agent knows better.
    Sleep,
    /// The sandbox's life ends.
    Expire,
    /// The platform is told again that the container is still wanted.
    Keep,
    /// A start has taken too long.
    GiveUp,
    /// A container that was asked to end is ended.
    Kill,
    /// A container that should have ended is looked for.
    Reap,
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
