//! Which requests are sent again, and when.

use std::time::Duration;

use crate::Error;

/// How often a request is sent again, and after which pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often at most. Default: 4.
    pub limit: u32,
    /// The pause before the first repeat; each later one is twice as long. Default: 200 ms.
    pub first_pause: Duration,
    /// The longest pause that the service has not asked for. Default: 10 s.
    pub longest_pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { limit: 4, first_pause: Duration::from_millis(200), longest_pause: Duration::from_secs(10) }
    }
}

impl Retries {
    /// Sends nothing again.
    pub const NONE: Self = Self { limit: 0, first_pause: Duration::ZERO, longest_pause: Duration::ZERO };

    /// The pause before attempt `attempt + 1`, or `None` where the request is not sent again. `jitter` is drawn from 0 to 1: clients that
    /// failed together do not come back together.
    pub(crate) fn pause(&self, error: &Error, attempt: u32, idempotent: bool, jitter: f64) -> Option<Duration> {
        // A retryable error says that nothing was carried out. After a lost connection only an idempotent request is safe.
        let safe = error.is_retryable() || (idempotent && matches!(error, Error::ConnectionLost { .. }));
        (safe && attempt < self.limit).then(|| error.retry_after().unwrap_or_default() + self.backoff(attempt, jitter))
    }

    /// Half of the pause is fixed, half is drawn.
    pub(crate) fn backoff(&self, attempt: u32, jitter: f64) -> Duration {
        let pause = self.first_pause.saturating_mul(1 << attempt.min(16)).min(self.longest_pause);
        pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// A random number from 0 to 1; without randomness there is no jitter.
pub(crate) fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::Retries;
    use crate::Error;
    use cabana_protocol::Code;
    use std::time::Duration;

    fn service(code: Code) -> Error {
        Error::of_frame(cabana_protocol::Error::new(code, "no"))
    }

    #[test]
    fn only_what_is_safe_is_repeated() {
        let retries = Retries::default();
        for (error, idempotent, expected) in [
            (service(Code::ContainerNotReady), false, true),
            (service(Code::TooManyRequests), false, true),
            (service(Code::Interrupted), true, false),
            (service(Code::Conflict), true, false),
            (Error::lost("x"), true, true),
            (Error::lost("x"), false, false),
            (Error::Unreachable { url: String::new(), cause: "x".into() }, false, true),
        ] {
            assert_eq!(retries.pause(&error, 0, idempotent, 0.0).is_some(), expected, "{error} {idempotent}");
            assert_eq!(retries.pause(&error, retries.limit, idempotent, 0.0), None);
        }
    }

    #[test]
    fn pauses_grow_to_a_limit_and_respect_retry_after() {
        let retries = Retries::default();
        let pauses: Vec<u128> = (0..8).map(|attempt| retries.backoff(attempt, 1.0).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(retries.backoff(0, 0.0), Duration::from_millis(100));
        let pause = retries.pause(&service(Code::TooManyRequests), 0, false, 1.0);
        assert_eq!(pause, Some(Duration::from_millis(1_200)), "the second that the service asks for, and the backoff");
    }
}
