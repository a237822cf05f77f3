//! Durations of repeated runs, and their percentiles.

use anyhow::Result;
use std::time::{Duration, Instant};

/// Durations of one operation. All are kept: there are at most thousands, and a percentile is one of them, not an estimate.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Runs the operation once more and records its duration.
    pub(crate) fn time<T>(&mut self, operation: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let value = operation()?;
        self.add(started.elapsed());
        Ok(value)
    }

    /// Records a duration that was measured otherwise.
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// The median.
    pub(crate) fn p50(&self) -> Duration {
        self.percentile(50)
    }

    /// The duration that one run in twenty exceeds.
    pub(crate) fn p95(&self) -> Duration {
        self.percentile(95)
    }

    fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(rank).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_any_number_of_samples_are_samples() {
        let samples = |counts: std::ops::RangeInclusive<u64>| Samples(counts.rev().map(Duration::from_millis).collect());
        assert_eq!(samples(1..=100).p95(), Duration::from_millis(95));
        assert_eq!(samples(1..=5).p50(), Duration::from_millis(3));
        assert_eq!(samples(1..=1).p95(), Duration::from_millis(1));
    }
}
