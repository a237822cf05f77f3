//! Measured values: a duration, a throughput, a frequency, a size or a count.

use std::fmt;
use std::time::Duration;

/// A measured value with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Quantity {
    /// Less is better.
    Duration(Duration),
    /// Bytes per second; more is better.
    Throughput(f64),
    /// Operations per second; more is better.
    Frequency(f64),
    /// Bytes; less is better.
    Size(u64),
    /// A number of things.
    Count(u64),
}

impl Quantity {
    /// This many bytes in this time.
    pub(crate) fn throughput(bytes: u64, took: Duration) -> Self {
        Self::Throughput(bytes as f64 / took.as_secs_f64())
    }

    /// This many operations in this time.
    pub(crate) fn frequency(operations: usize, took: Duration) -> Self {
        Self::Frequency(operations as f64 / took.as_secs_f64())
    }

    /// This many microseconds.
    pub(crate) const fn microseconds(microseconds: u64) -> Self {
        Self::Duration(Duration::from_micros(microseconds))
    }

    /// This many milliseconds.
    pub(crate) const fn milliseconds(milliseconds: u64) -> Self {
        Self::Duration(Duration::from_millis(milliseconds))
    }

    /// This many millions of bytes per second.
    pub(crate) const fn megabytes_per_second(megabytes: u32) -> Self {
        Self::Throughput(megabytes as f64 * 1e6)
    }

    /// This many times 1,024 bytes.
    pub(crate) const fn kibibytes(kibibytes: u64) -> Self {
        Self::Size(kibibytes << 10)
    }

    /// This many times 1,024 times 1,024 bytes.
    pub(crate) const fn mebibytes(mebibytes: u64) -> Self {
        Self::Size(mebibytes << 20)
    }

    /// The number without its unit: seconds, bytes, operations per second or bytes per second.
    pub(crate) fn number(self) -> f64 {
        match self {
            Self::Duration(time) => time.as_secs_f64(),
            Self::Throughput(number) | Self::Frequency(number) => number,
            Self::Size(number) | Self::Count(number) => number as f64,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Duration(time) if time.as_micros() < 1_000 => format!("{} µs", time.as_micros()),
            Self::Duration(time) if time.as_millis() < 100 => format!("{:.2} ms", time.as_secs_f64() * 1e3),
            Self::Duration(time) => format!("{} ms", time.as_millis()),
            Self::Throughput(bytes) => format!("{:.0} MB/s", bytes / 1e6),
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
    fn quantities_of_any_size_are_shown_in_readable_units() {
        for (quantity, text) in [
            (Quantity::Duration(Duration::from_micros(999)), "999 µs"),
            (Quantity::Duration(Duration::from_micros(1_234)), "1.23 ms"),
            (Quantity::milliseconds(500), "500 ms"),
            (Quantity::throughput(1_000_000, Duration::from_millis(2)), "500 MB/s"),
            (Quantity::frequency(4_000, Duration::from_secs(2)), "2000 /s"),
            (Quantity::Size(1_536), "1.5 KiB"),
            (Quantity::mebibytes(16), "16.0 MiB"),
            (Quantity::Count(0), "0"),
        ] {
            assert_eq!(quantity.to_string(), text);
        }
    }
}
