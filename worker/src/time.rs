//! Instants: milliseconds since 1970 inside, RFC 3339 on the wire. Pure but for [`now`].

use cabana_protocol::{Error, names::invalid_field};
use chrono::{DateTime, SecondsFormat, Utc};

/// The last instant that RFC 3339 can name, of the year 9999.
pub const END_MS: u64 = 253_402_300_799_999;

/// The present.
pub fn now() -> u64 {
    worker::Date::now().as_millis()
}

/// In UTC, with milliseconds, so that all have one width and sort as text.
pub fn format(instant_ms: u64) -> String {
    let instant = DateTime::<Utc>::from_timestamp_millis(instant_ms.min(END_MS).cast_signed()).unwrap_or_default();
    instant.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Undoes [`format()`], and takes other offsets and precisions.
///
/// Fails with `invalid_request`, naming the field.
pub fn parse(field: &str, text: &str) -> Result<u64, Error> {
    let instant = DateTime::parse_from_rfc3339(text).ok().and_then(|instant| u64::try_from(instant.timestamp_millis()).ok());
    instant.ok_or_else(|| invalid_field(field, "an instant of RFC 3339 since 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        for (text, instant) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2026-11-20T12:00:00.007Z", 1_795_176_000_007),
            ("9999-12-31T23:59:59.999Z", END_MS),
        ] {
            assert_eq!((parse("at", text).unwrap(), format(instant).as_str()), (instant, text));
        }
        assert_eq!(parse("at", "2026-11-20T14:00:00+02:00").unwrap(), 1_795_176_000_000);
        assert_eq!(format(u64::MAX), format(END_MS));
        for odd in ["", "2026-11-20", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z", "0"] {
            assert!(parse("at", odd).unwrap_err().message.starts_with("`at` "), "{odd}");
        }
    }
}
