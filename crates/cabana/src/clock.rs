//! The runtime's clock, and instants as text.

use chrono::{DateTime, SecondsFormat, Utc};
use worker::Date;

use crate::lifecycle::Instant;

/// The time. It stands still while the object computes.
pub(crate) fn now() -> Instant {
    Instant(Date::now().as_millis())
}

/// RFC 3339 in UTC, with milliseconds. What lies after the year 9999 is as good as never.
pub(crate) fn rfc3339(at: Instant) -> String {
    const LAST: u64 = 253_402_300_799_999;
    let instant = DateTime::<Utc>::from_timestamp_millis(at.0.min(LAST).cast_signed()).unwrap_or_default();
    instant.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_with_milliseconds() {
        assert_eq!(rfc3339(Instant(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Instant(1_795_964_400_007)), "2026-11-29T15:00:00.007Z");
        assert_eq!(rfc3339(Instant(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
