//! What is measured: a time, a rate or a size.

use std::fmt;
use std::time::Duration;

/// A measured value with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Quantity {
    /// Less is better.
    Time(Duration),
    /// Bytes per second; more is better.
    Rate(f64),
    /// Bytes; less is better.
    Size(u64),
}

impl Quantity {
    /// This many bytes in this time.
    pub(super) fn rate(bytes: u64, took: Duration) -> Self {
        Self::Rate(bytes as f64 / took.as_secs_f64())
    }

    /// This many milliseconds.
    pub(super) const fn milliseconds(milliseconds: u64) -> Self {
        Self::Time(Duration::from_millis(milliseconds))
    }

    /// This many millions of bytes per second.
    pub(super) const fn megabytes_per_second(megabytes: u32) -> Self {
        Self::Rate(megabytes as f64 * 1e6)
    }

    /// This many times 1,024 times 1,024 bytes.
    pub(super) const fn mebibytes(mebibytes: u64) -> Self {
        Self::Size(mebibytes << 20)
    }

    /// The bare number, in seconds, bytes per second, or bytes.
    pub(super) fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Rate(rate) => rate,
            Self::Size(size) => size as f64,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Time(time) if time.as_micros() < 1_000 => format!("{} µs", time.as_micros()),
            Self::Time(time) if time.as_millis() < 100 => format!("{:.2} ms", time.as_secs_f64() * 1e3),
            Self::Time(time) => format!("{} ms", time.as_millis()),
            Self::Rate(rate) => format!("{:.0} MB/s", rate / 1e6),
            Self::Size(size) => format!("{:.1} MiB", *size as f64 / f64::from(1 << 20)),
        };
        formatter.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_say_them() {
        for (quantity, text) in [
            (Quantity::Time(Duration::from_micros(999)), "999 µs"),
            (Quantity::Time(Duration::from_micros(1_234)), "1.23 ms"),
            (Quantity::milliseconds(500), "500 ms"),
            (Quantity::rate(1_000_000, Duration::from_millis(2)), "500 MB/s"),
            (Quantity::mebibytes(16), "16.0 MiB"),
        ] {
            assert_eq!(quantity.to_string(), text);
        }
    }
}
