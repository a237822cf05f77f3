//! What is measured: a time, a rate, a size or a count.

use std::fmt;
use std::time::Duration;

/// A measured value with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Quantity {
    /// Less is better.
    Time(Duration),
    /// Bytes per second; more is better.
    Rate(f64),
    /// Times per second; more is better.
    Frequency(f64),
    /// Bytes; less is better.
    Size(u64),
    /// How many.
    Count(u64),
}

impl Quantity {
    /// This many bytes in this time.
    pub(super) fn rate(bytes: u64, took: Duration) -> Self {
        Self::Rate(bytes as f64 / took.as_secs_f64())
    }

    /// This often in this time.
    pub(super) fn frequency(times: usize, took: Duration) -> Self {
        Self::Frequency(times as f64 / took.as_secs_f64())
    }

    /// This many microseconds.
    pub(super) const fn microseconds(microseconds: u64) -> Self {
        Self::Time(Duration::from_micros(microseconds))
    }

    /// This many milliseconds.
    pub(super) const fn milliseconds(milliseconds: u64) -> Self {
        Self::Time(Duration::from_millis(milliseconds))
    }

    /// This many millions of bytes per second.
    pub(super) const fn megabytes_per_second(megabytes: u32) -> Self {
        Self::Rate(megabytes as f64 * 1e6)
    }

    /// This many times 1,024 bytes.
    pub(super) const fn kibibytes(kibibytes: u64) -> Self {
        Self::Size(kibibytes << 10)
    }

    /// This many times 1,024 times 1,024 bytes.
    pub(super) const fn mebibytes(mebibytes: u64) -> Self {
        Self::Size(mebibytes << 20)
    }

    /// The bare number, in seconds, bytes, times, or bytes or times per second.
    pub(super) fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Rate(number) | Self::Frequency(number) => number,
            Self::Size(number) | Self::Count(number) => number as f64,
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
            Self::Frequency(frequency) => format!("{frequency:.0} /s"),
            Self::Count(count) => count.to_string(),
            Self::Size(size) if *size < 1 << 20 => format!("{:.1} KiB", *size as f64 / 1024.0),
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
            (Quantity::frequency(4_000, Duration::from_secs(2)), "2000 /s"),
            (Quantity::Size(1_536), "1.5 KiB"),
            (Quantity::mebibytes(16), "16.0 MiB"),
            (Quantity::Count(0), "0"),
        ] {
            assert_eq!(quantity.to_string(), text);
        }
    }
}
