//! How far a row goes: to its full scale, or to the end of its share of the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How often a row says how far it is.
const PROGRESS: Duration = Duration::from_secs(15);

/// The rounds and the time of one row.
#[derive(Debug)]
pub(super) struct Budget {
    full: u64,
    begun: AtomicU64,
    done: AtomicU64,
    started: Instant,
    share: Duration,
}

impl Budget {
    /// So many rounds, in this time from now on.
    pub(super) fn new(full: u64, share: Duration) -> Self {
        Self { full, begun: AtomicU64::new(0), done: AtomicU64::new(0), started: Instant::now(), share }
    }

    /// The number of the next round; `None` when there is no further round, or no time for it.
    pub(super) fn begin(&self) -> Option<u64> {
        if self.is_over() {
            return None;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        (number < self.full).then_some(number)
    }

    /// Counts a round that was begun.
    pub(super) fn finish(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the seconds since `since`, in a row whose rounds are seconds.
    pub(super) fn count_seconds(&self, since: Instant) {
        self.done.store(since.elapsed().as_secs().min(self.full), Ordering::Relaxed);
    }

    /// How many rounds are done.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub(super) fn full(&self) -> u64 {
        self.full
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        self.started.elapsed() >= self.share
    }

    /// What is left of the time.
    pub(super) fn time_left(&self) -> Duration {
        self.share.saturating_sub(self.started.elapsed())
    }

    /// What this comes to, if it does before the time is over; else it is dropped.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.time_left(), work).await.ok()
    }

    /// Says now and then how far the row is, until the program ends.
    pub(super) fn show_progress(self: &Arc<Self>, name: &'static str, unit: &'static str) {
        let budget = Arc::clone(self);
        thread::spawn(move || {
            loop {
                thread::sleep(PROGRESS);
                let (done, full, left) = (budget.done(), budget.full, budget.time_left().as_secs());
                eprintln!(" . {name:<18} {done} of {full} {unit}, {left} s left");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_end_at_the_full_scale() {
        let budget = Budget::new(2, Duration::from_secs(3_600));
        assert_eq!([budget.begin(), budget.begin(), budget.begin()], [Some(0), Some(1), None]);
        budget.finish();
        assert_eq!((budget.done(), budget.full()), (1, 2));
    }

    #[tokio::test]
    async fn nothing_begins_after_the_time() {
        let budget = Budget::new(2, Duration::ZERO);
        assert!(budget.is_over() && budget.begin().is_none());
        assert_eq!(budget.within(std::future::pending::<()>()).await, None);
    }
}
