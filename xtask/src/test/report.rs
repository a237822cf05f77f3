//! What passed, failed and did not apply, over all parts.

use super::slowest::Durations;
use super::suite::Tally;
use crate::progress::{Outcome, Step, say, seconds};
use anyhow::{Error, Result};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The lines of the closing summary. Several threads add to it.
#[derive(Default)]
pub(super) struct Report {
    entries: Mutex<Vec<Entry>>,
}

struct Entry {
    name: String,
    passed: u64,
    failed: u64,
    /// Cases that are not for this target.
    elsewhere: u64,
    ignored: u64,
    took: Duration,
    cases: Vec<(String, Duration)>,
    /// Why it was left out.
    left_out: Option<String>,
}

/// Cases of one target that ran.
#[derive(Default)]
pub(super) struct Ran {
    pub(super) tally: Tally,
    /// How many more there are that are not for this target.
    pub(super) elsewhere: usize,
}

impl Report {
    /// Runs a check that passes or fails as one, and says whether it passed.
    pub(super) fn check(&self, name: &str, work: impl FnOnce(&Step) -> Result<()>) -> bool {
        let (took, result) = run(name, |step| Ok((Outcome::Done("passed".to_owned()), work(step)?)));
        let failed = u64::from(explain(name, &result));
        self.add(Entry { passed: 1 - failed, failed, ..Entry::new(name, took) });
        failed == 0
    }

    /// Notes what cannot run on this machine, and counts nothing.
    pub(super) fn leave_out(&self, name: &str, reason: &Error) {
        say(&format!("\n---- {name} is left out: {reason:#}\n"));
        self.add(Entry { left_out: Some(format!("{reason:#}")), ..Entry::new(name, Duration::ZERO) });
    }

    /// Runs cases, each of which counts. Cases that could not run, and a suite without any, are a failure.
    pub(super) fn cases(&self, name: &str, work: impl FnOnce(&Step) -> Result<Ran>) {
        let (took, result) = run(name, |step| {
            let mut ran = work(step)?;
            ran.demand_cases();
            Ok((Outcome::Done(ran.to_string()), ran))
        });
        explain(name, &result);
        let entry = match result {
            Ok(Ran { tally, elsewhere }) => {
                for (case, said) in &tally.failures {
                    say(&format!("\n---- {name}: {case}\n{said}"));
                }
                let Tally { passed, failed, ignored, cases, .. } = tally;
                Entry { passed, failed, ignored, elsewhere: elsewhere as u64, cases, ..Entry::new(name, took) }
            }
            Err(_) => Entry { failed: 1, ..Entry::new(name, took) },
        };
        self.add(entry);
    }

    /// Counts a failure of what others need, and passes on what there is otherwise.
    pub(super) fn need<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        let started = Instant::now();
        let result = work();
        if explain(name, &result) {
            self.add(Entry { failed: 1, ..Entry::new(name, started.elapsed()) });
        }
        result.ok()
    }

    pub(super) fn failed(&self) -> u64 {
        self.sum(|entry| entry.failed)
    }

    /// What each case took, named with its suite.
    pub(super) fn durations(&self) -> Durations {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let cases =
            entries.iter().flat_map(|entry| entry.cases.iter().map(|(case, took)| (format!("{}: {case}", entry.name), *took)));
        Durations::new(cases.collect())
    }

    fn sum(&self, count: impl Fn(&Entry) -> u64) -> u64 {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().map(count).sum()
    }

    fn add(&self, entry: Entry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
}

impl Entry {
    fn new(name: &str, took: Duration) -> Self {
        Self { name: name.to_owned(), passed: 0, failed: 0, elsewhere: 0, ignored: 0, took, cases: Vec::new(), left_out: None }
    }
}

impl Ran {
    fn demand_cases(&mut self) {
        if self.tally.passed + self.tally.failed == 0 {
            self.tally.failed = 1;
            self.tally.failures.push(("all".to_owned(), "no case ran: their module or name may have changed\n".to_owned()));
        }
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { passed, failed, ignored, .. } = self.tally;
        write_counts(formatter, [passed, failed, self.elsewhere as u64, ignored])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(reason) = &entry.left_out {
                writeln!(formatter, "{:<22} LEFT OUT  {}", entry.name, reason.lines().next().unwrap_or_default())?;
                continue;
            }
            let mark = if entry.failed == 0 { "ok" } else { "FAILED" };
            write!(formatter, "{:<22} {mark:<7} {:>11}  ", entry.name, seconds(entry.took))?;
            write_counts(formatter, [entry.passed, entry.failed, entry.elsewhere, entry.ignored])?;
            writeln!(formatter)?;
        }
        let (passed, failed) = (self.sum(|entry| entry.passed), self.failed());
        let skipped = self.sum(|entry| entry.elsewhere + entry.ignored);
        // What runs this command may read the last line: it has the plain form that many test runners close with.
        writeln!(formatter, "\n{passed} passed, {failed} failed, {skipped} skipped")
    }
}

fn write_counts(formatter: &mut fmt::Formatter<'_>, [passed, failed, elsewhere, ignored]: [u64; 4]) -> fmt::Result {
    write!(formatter, "{passed} passed")?;
    for (count, what) in [(failed, "failed"), (elsewhere, "not for this target"), (ignored, "ignored")] {
        if count > 0 {
            write!(formatter, ", {count} {what}")?;
        }
    }
    Ok(())
}

fn run<T>(name: &str, work: impl FnOnce(&Step) -> Result<(Outcome, T)>) -> (Duration, Result<T>) {
    let started = Instant::now();
    let result = Step::run(name, work);
    (started.elapsed(), result)
}

/// Whether it failed; says why if so.
fn explain<T>(name: &str, result: &Result<T, Error>) -> bool {
    if let Err(error) = result {
        say(&format!("\n---- {name}: {error:#}\n"));
    }
    result.is_err()
}

#[cfg(test)]
mod tests {
    use super::{Ran, Report};
    use crate::test::suite::Tally;
    use anyhow::bail;
    use std::time::Duration;

    fn ran(passed: u64, failed: u64, ignored: u64, elsewhere: usize) -> Ran {
        Ran { tally: Tally { passed, failed, ignored, ..Tally::default() }, elsewhere }
    }

    #[test]
    fn the_last_line_sums_every_entry() {
        let report = Report::default();
        report.check("format", |_| Ok(()));
        report.check("clippy", |_| bail!("unused"));
        report.cases("agent", |_| Ok(ran(40, 2, 1, 7)));
        report.cases("crashed", |_| bail!("no program"));
        assert!(report.need("start", || -> anyhow::Result<()> { bail!("no") }).is_none());
        assert_eq!(report.need("other", || Ok(3)), Some(3));
        report.leave_out("image", &anyhow::anyhow!("no Docker daemon answers"));
        assert_eq!(report.failed(), 5);
        let text = report.to_string();
        assert_eq!(text.lines().last(), Some("41 passed, 5 failed, 8 skipped"));
        assert!(text.contains("LEFT OUT  no Docker daemon answers"), "{text}");
        assert!(text.contains("40 passed, 2 failed, 7 not for this target, 1 ignored"), "{text}");
    }

    #[test]
    fn a_suite_without_cases_fails() {
        let report = Report::default();
        report.cases("outages", |_| Ok(ran(0, 0, 0, 12)));
        assert_eq!(report.failed(), 1);
    }

    #[test]
    fn durations_are_named_with_their_suite() {
        let report = Report::default();
        let took = Duration::from_secs(3);
        let tally = Tally { passed: 1, cases: vec![("exec::waits".to_owned(), took)], ..Tally::default() };
        report.cases("stack", |_| Ok(Ran { tally, elsewhere: 0 }));
        assert!(report.durations().slowest(1).contains("stack: exec::waits"));
    }
}
