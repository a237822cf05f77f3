//! How long requests took.

use std::time::{Duration, Instant};

/// Times of requests of one kind.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Takes the time of one request.
    pub(super) async fn time<T>(&mut self, request: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let answer = request.await;
        self.0.push(started.elapsed());
        answer
    }

    /// Adds those of another client.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// What is exceeded by one of a hundred.
    pub(super) fn p99(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
    }

    /// The longest.
    pub(super) fn longest(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }
}

/// A time as people read it.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{}.{} ms", time.as_millis(), time.as_micros() % 1_000 / 100)
}
