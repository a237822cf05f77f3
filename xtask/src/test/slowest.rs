//! What each case took, the slowest first.

use crate::progress::seconds;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The durations of all cases that ran.
pub(super) struct Durations {
    cases: Vec<(String, Duration)>,
}

impl Durations {
    pub(super) fn new(mut cases: Vec<(String, Duration)>) -> Self {
        cases.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        Self { cases }
    }

    /// A line for each of the `count` slowest.
    pub(super) fn slowest(&self, count: usize) -> String {
        self.cases.iter().take(count).map(|(case, took)| format!("{:>11}  {case}\n", seconds(*took))).collect()
    }

    /// Writes all of them to a file.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        fs::write(file, self.slowest(usize::MAX)).with_context(|| format!("write {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Durations;
    use std::time::Duration;

    #[test]
    fn the_slowest_cases_come_first() {
        let took = |name: &str, seconds| (name.to_owned(), Duration::from_secs(seconds));
        let durations = Durations::new(vec![took("a", 1), took("b", 70), took("c", 2)]);
        assert_eq!(durations.slowest(2), " 1 min 10 s  b\n      2.0 s  c\n");
        assert_eq!(durations.slowest(9).lines().count(), 3);
    }
}
