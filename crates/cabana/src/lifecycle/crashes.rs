//! How often a sandbox has failed of late, and how long it is left alone for that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Instant;

/// So many failures in a row are tried again at once.
const FREE: u32 = 3;

/// The pause after the first failure that is not; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A sandbox that was up for so long, or left alone for so long, starts counting afresh.
const STABLE: Duration = Duration::from_secs(120);

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crashes {
    count: u32,
    last: Instant,
}

impl Crashes {
    /// Counts one, of a sandbox that has been in its state since then.
    #[must_use]
    pub fn and_one(self, since: Instant, at: Instant) -> Self {
        let stable = at.since(since) >= STABLE || at.since(self.last) >= STABLE;
        Self { count: if stable { 1 } else { self.count.saturating_add(1) }, last: at }
    }

    /// When the next start may be.
    pub fn retry_at(self) -> Instant {
        let doublings = self.count.saturating_sub(FREE + 1).min(16);
        let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        if self.count > FREE { self.last + pause } else { self.last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_it_was_stable() {
        let mut crashes = Crashes::default();
        let mut now = Instant(1_000_000);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            crashes = crashes.and_one(now, now);
            pauses.push(crashes.retry_at().since(now).as_secs());
            now = crashes.retry_at();
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let up = now;
        now = now + STABLE;
        assert_eq!(crashes.and_one(up, now).retry_at(), now);
    }
}
