//! The terminal that a command runs on.

use serde::{Deserialize, Deserializer, Serialize, de};

/// A pseudo-terminal and its size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tty {
    /// Width. Default: 80.
    #[serde(default = "Cells::columns")]
    pub cols: Cells,
    /// Height. Default: 24.
    #[serde(default = "Cells::rows")]
    pub rows: Cells,
}

/// How many characters fit into a terminal, one way: 1 to 1,000. More is taken for 1,000, and 0 is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cells(u16);

impl Cells {
    /// The largest.
    pub const MAX: u16 = 1_000;

    /// This many, no more than [`Cells::MAX`]; `None` for 0.
    pub fn new(count: u64) -> Option<Self> {
        (count > 0).then(|| Self(u16::try_from(count).unwrap_or(Self::MAX).min(Self::MAX)))
    }

    /// How many.
    pub fn get(self) -> u16 {
        self.0
    }

    fn columns() -> Self {
        Self(80)
    }

    fn rows() -> Self {
        Self(24)
    }
}

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = u64::deserialize(deserializer)?;
        Self::new(count).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Unsigned(count), &"a whole number from 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_kept_within_what_terminals_have() {
        let read = |text: &str| serde_json::from_str::<Tty>(text).map(|tty| (tty.cols.get(), tty.rows.get())).ok();
        for (text, expected) in [
            ("{}", Some((80, 24))),
            (r#"{"cols": 1, "rows": 1000}"#, Some((1, 1000))),
            (r#"{"cols": 1001, "rows": 65535}"#, Some((1000, 1000))),
            (r#"{"cols": 18446744073709551615}"#, Some((1000, 24))),
            (r#"{"cols": 0}"#, None),
            (r#"{"rows": -1}"#, None),
            (r#"{"rows": "24"}"#, None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
