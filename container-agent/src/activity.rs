//! Whether the agent has anything to do that keeps its sandbox awake. The agent knows that best: it sees every operation until the
//! last byte of its answer, on every connection.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What is under way; clones count together.
#[derive(Debug, Clone)]
pub struct Activity(Arc<Mutex<Now>>);

#[derive(Debug)]
struct Now {
    busy: u64,
    /// When the last one was over.
    idle_since: Instant,
}

/// Something that is under way, until it is dropped.
#[derive(Debug)]
pub struct Busy(Activity);

impl Default for Activity {
    /// Nothing so far.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Now { busy: 0, idle_since: Instant::now() })))
    }
}

impl Activity {
    /// Something begins.
    pub fn begin(&self) -> Busy {
        self.change(|now| now.busy += 1);
        Busy(self.clone())
    }

    /// How much is under way, and for how long there was nothing.
    pub fn look(&self) -> (u64, Duration) {
        let mut seen = (0, Duration::ZERO);
        self.change(|now| seen = (now.busy, if now.busy > 0 { Duration::ZERO } else { now.idle_since.elapsed() }));
        seen
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|now| {
            now.busy -= 1;
            now.idle_since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_busy_until_the_last_is_over() {
        let activity = Activity::default();
        assert_eq!(activity.look().0, 0);
        let (one, other) = (activity.begin(), activity.begin());
        drop(one);
        assert_eq!(activity.look(), (1, Duration::ZERO));
        drop(other);
        assert_eq!(activity.look().0, 0);
    }
}
