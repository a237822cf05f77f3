//! The times of repeated runs.

use anyhow::Result;
use std::time::{Duration, Instant};

/// Times of one thing, done again and again.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    /// Does it once more and takes its time.
    pub(super) fn time<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let value = work()?;
        self.0.push(started.elapsed());
        Ok(value)
    }

    /// The median.
    pub(super) fn p50(&self) -> Duration {
        self.percentile(50)
    }

    /// What one run in twenty exceeds.
    pub(super) fn p95(&self) -> Duration {
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
    fn percentiles_are_samples() {
        let samples = |counts: std::ops::RangeInclusive<u64>| Samples(counts.rev().map(Duration::from_millis).collect());
        assert_eq!(samples(1..=100).p95(), Duration::from_millis(95));
        assert_eq!(samples(1..=5).p50(), Duration::from_millis(3));
        assert_eq!(samples(1..=1).p95(), Duration::from_millis(1));
    }
}
