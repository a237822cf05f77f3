//! Requests per minute, counted where they arrive. Pure.
//!
//! Each isolate of the gateway counts by itself: no request waits for another machine, and no object is asked by all. So the limit holds
//! exactly for what one isolate sees, which is nearly always all that comes from one place of the world; a tenant whose requests arrive at
//! several has it in each. It keeps one tenant from using up what all share. What must be exact, the quotas, is counted by
//! [`Tenant`](super::Tenant).

use std::collections::HashMap;

use cabana_protocol::{Code, Error, Tenant};
use serde_json::json;

const MINUTE_MS: u64 = 60_000;

/// Tenants that are remembered; when there are more, those that were silent for long are forgotten.
const MAX_TENANTS: usize = 4_096;

/// Counts requests by tenant.
#[derive(Debug, Default)]
pub struct Rates(HashMap<Tenant, Window>);

/// The minute that is under way, and the one before it.
#[derive(Debug, Default, Clone, Copy)]
struct Window {
    minute: u64,
    count: u64,
    before: u64,
}

impl Rates {
    /// Counts a request that has come at this time, in milliseconds since 1970.
    ///
    /// Fails with `too_many_requests`, with `limit`, `used` and `retry_after_ms`, and then counts nothing.
    pub fn take(&mut self, tenant: &Tenant, limit: u64, now_ms: u64) -> Result<(), Error> {
        if self.0.len() >= MAX_TENANTS && !self.0.contains_key(tenant) {
            self.0.retain(|_, window| window.minute + 1 >= now_ms / MINUTE_MS);
        }
        let window = self.0.entry(tenant.clone()).or_default();
        window.advance(now_ms / MINUTE_MS);
        let used = window.used(now_ms % MINUTE_MS);
        if used < limit {
            window.count += 1;
            return Ok(());
        }
        let details = json!({
            "quota": "requests_per_minute",
            "limit": limit,
            "used": used,
            "retry_after_ms": window.wait_ms(limit, now_ms % MINUTE_MS),
        });
        Err(Error::new(Code::TooManyRequests, format!("this tenant has sent {used} requests in a minute")).with_details(details))
    }
}

impl Window {
    fn advance(&mut self, minute: u64) {
        if minute == self.minute {
            return;
        }
        let before = if minute == self.minute + 1 { self.count } else { 0 };
        *self = Self { minute, count: 0, before };
    }

    /// Requests of the last 60 s, those of the minute before taken to have come evenly.
    fn used(&self, into_ms: u64) -> u64 {
        self.count + self.before * (MINUTE_MS - into_ms) / MINUTE_MS
    }

    /// How long it is until there is room for one.
    fn wait_ms(&self, limit: u64, into_ms: u64) -> u64 {
        let rest = MINUTE_MS - into_ms;
        if self.count >= limit {
            // This minute's own are to wane as well.
            let excess = self.count - limit + 1;
            return rest + (excess * MINUTE_MS).div_ceil(self.count);
        }
        let room = limit - self.count - 1;
        // Waits until before * left / minute <= room.
        let left = (room * MINUTE_MS).checked_div(self.before).unwrap_or(MINUTE_MS);
        rest.saturating_sub(left).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        name.parse().unwrap()
    }

    #[test]
    fn no_minute_has_more_than_the_limit_and_the_wait_is_enough() {
        for (limit, pause_ms) in [(1, 7_001), (3, 1), (10, 999), (60, 500), (60, 1_000), (7, 30_000)] {
            let (mut rates, tenant) = (Rates::default(), tenant("a"));
            let mut taken = Vec::new();
            let mut now = 1_000_000_123;
            for _ in 0..2_000 {
                match rates.take(&tenant, limit, now) {
                    Ok(()) => taken.push(now),
                    Err(error) => {
                        let wait = error.retry_after_ms().unwrap();
                        assert!((1..=2 * MINUTE_MS).contains(&wait), "{error:?}");
                        let mut later = Rates(rates.0.clone());
                        assert!(later.take(&tenant, limit, now + wait).is_ok(), "{limit} {pause_ms}: {error:?}");
                    }
                }
                now += pause_ms;
            }
            let most = taken
                .iter()
                .map(|end| taken.iter().filter(|at| (*at..=&(*at + MINUTE_MS - 1)).contains(&end)).count() as u64)
                .max();
            // The estimate takes what came in a burst for an even flow.
            assert!(most.unwrap() <= 2 * limit && taken.len() as u64 >= limit, "{limit} {pause_ms}: {most:?}");
        }
    }

    #[test]
    fn tenants_do_not_disturb_each_other() {
        let mut rates = Rates::default();
        assert!(rates.take(&tenant("a"), 1, 7).is_ok());
        let error = rates.take(&tenant("a"), 1, 8).unwrap_err();
        assert_eq!(error.code, Code::TooManyRequests);
        let details = error.details.unwrap();
        assert_eq!(
            (&details["limit"], &details["used"], &details["quota"]),
            (&json!(1), &json!(1), &json!("requests_per_minute"))
        );
        assert!(rates.take(&tenant("b"), 1, 8).is_ok());
    }

    #[test]
    fn the_silent_are_forgotten() {
        let mut rates = Rates::default();
        for number in 0..2 * MAX_TENANTS as u64 {
            assert!(rates.take(&tenant(&format!("t{number}")), 1, number * MINUTE_MS).is_ok());
        }
        assert!(rates.0.len() <= MAX_TENANTS);
    }
}
