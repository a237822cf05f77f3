//! What passed and what failed, over all parts.

use super::cases::Cases;
use crate::progress::{say, seconds};
use anyhow::Result;
use std::fmt;
use std::time::{Duration, Instant};

/// The lines of the closing summary.
#[derive(Default)]
pub(super) struct Report {
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    passed: u64,
    failed: u64,
    took: Duration,
}

impl Report {
    /// Runs a check that passes or fails as one.
    pub(super) fn check(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        let started = announce(name);
        let failed = say_why(name, &work());
        self.add(name, u64::from(!failed), u64::from(failed), started);
    }

    /// Runs suites of test cases, each of which counts. Suites that could not run to their end are one failure at least.
    pub(super) fn cases(&mut self, name: &str, work: impl FnOnce() -> Result<Cases>) {
        let started = announce(name);
        let result = work();
        say_why(name, &result);
        let (passed, failed) = match result {
            Ok(Cases { tally, succeeded }) => (tally.passed, if succeeded { tally.failed } else { tally.failed.max(1) }),
            Err(_) => (0, 1),
        };
        self.add(name, passed, failed, started);
    }

    /// Runs what others need; it counts only when it fails.
    pub(super) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        let started = announce(name);
        let result = work();
        if say_why(name, &result) {
            self.add(name, 0, 1, started);
        }
        result.ok()
    }

    pub(super) fn failed(&self) -> u64 {
        self.entries.iter().map(|entry| entry.failed).sum()
    }

    fn passed(&self) -> u64 {
        self.entries.iter().map(|entry| entry.passed).sum()
    }

    fn add(&mut self, name: &str, passed: u64, failed: u64, started: Instant) {
        self.entries.push(Entry { name: name.to_owned(), passed, failed, took: started.elapsed() });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter)?;
        for Entry { name, passed, failed, took } in &self.entries {
            let mark = if *failed == 0 { "ok" } else { "FAILED" };
            writeln!(formatter, "{name:<20} {mark:<7} {passed:>4} passed {failed:>3} failed  {}", seconds(*took))?;
        }
        writeln!(formatter, "\n{} passed, {} failed", self.passed(), self.failed())
    }
}

fn announce(name: &str) -> Instant {
    say(&format!("\n== {name}"));
    Instant::now()
}

/// Whether it failed, saying why if so.
fn say_why<T>(name: &str, result: &Result<T>) -> bool {
    if let Err(error) = result {
        say(&format!("{name}: {error:#}"));
    }
    result.is_err()
}

#[cfg(test)]
mod tests {
    use super::Report;
    use crate::test::cases::Cases;
    use crate::test::tally::Tally;
    use anyhow::bail;

    #[test]
    fn the_last_line_counts_everything() {
        let mut report = Report::default();
        report.check("format", || Ok(()));
        report.cases("unit", || Ok(Cases { tally: Tally { passed: 40, failed: 2 }, succeeded: false }));
        report.cases("crashed", || Ok(Cases { tally: Tally { passed: 1, failed: 0 }, succeeded: false }));
        assert!(report.step("start", || -> anyhow::Result<()> { bail!("no") }).is_none());
        assert_eq!(report.failed(), 4);
        assert_eq!(report.to_string().lines().last(), Some("42 passed, 4 failed"));
    }
}
