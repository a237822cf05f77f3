//! What came of the rows.

use crate::progress::say;
use anyhow::Result;
use serde::Deserialize;
use std::fmt;

/// What came of one row.
#[derive(Deserialize, Debug)]
pub(super) struct Report {
    /// How many rounds are done, of how many, and what a round is.
    pub(super) rounds: u64,
    pub(super) full: u64,
    pub(super) unit: String,
    /// Its worst figure.
    pub(super) worst: String,
    /// The first violation.
    pub(super) failed: Option<String>,
}

/// A line for each row.
#[derive(Default)]
pub(super) struct Table {
    lines: Vec<Line>,
}

struct Line {
    name: String,
    result: String,
    worst: String,
    failed: bool,
}

impl Table {
    /// Adds what came of a row, and shows it at once.
    pub(super) fn add(&mut self, name: &str, report: Result<Report>) {
        let line = match report {
            Err(error) => Line {
                name: name.to_owned(),
                result: "FAILED".to_owned(),
                worst: first_line(&format!("{error:#}")),
                failed: true,
            },
            Ok(report) => Line::new(name, report),
        };
        say(&line.to_string());
        self.lines.push(line);
    }

    pub(super) fn has_failures(&self) -> bool {
        self.lines.iter().any(|line| line.failed)
    }
}

impl Line {
    fn new(name: &str, Report { rounds, full, unit, worst, failed }: Report) -> Self {
        let name = name.to_owned();
        match failed {
            Some(violation) => {
                Self { name, result: format!("FAILED at {rounds} of {full} {unit}"), worst: first_line(&violation), failed: true }
            }
            None if rounds < full => Self { name, result: format!("stopped at {rounds} of {full} {unit}"), worst, failed: false },
            None => Self { name, result: format!("done, {rounds} {unit}"), worst, failed: false },
        }
    }
}

/// A violation is shown in whole where it happens; the table has a line for it.
fn first_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<12} {:<34} {}", self.name, self.result, self.worst)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(formatter, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, Table};
    use anyhow::anyhow;

    #[test]
    fn a_line_says_how_far_its_row_came() {
        let report = |rounds, failed: Option<&str>| {
            let failed = failed.map(str::to_owned);
            Ok(Report { rounds, full: 10, unit: "swaps".to_owned(), worst: "0 escapes".to_owned(), failed })
        };
        let mut table = Table::default();
        table.add("whole", report(10, None));
        table.add("short", report(4, None));
        assert!(!table.has_failures());
        table.add("broken", report(4, Some("at line 3:\n  an escape")));
        table.add("lost", Err(anyhow!("no report")));
        assert!(table.has_failures());
        let text = table.to_string();
        let columns: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            columns,
            [
                "whole done, 10 swaps 0 escapes",
                "short stopped at 4 of 10 swaps 0 escapes",
                "broken FAILED at 4 of 10 swaps at line 3: an escape",
                "lost FAILED no report",
            ]
        );
    }
}
