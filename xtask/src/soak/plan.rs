//! Which rows run, in which order, and for how long each.

use super::rows::Listed;
use anyhow::{Result, bail};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the fuzzers take in proportion to the other rows, in seconds.
const FUZZERS_SECONDS: u64 = 600;

/// What a row runs against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Needs {
    /// The whole service.
    Stack,
    /// libFuzzer.
    Fuzzer,
    /// Agents that it starts by itself.
    Agent,
}

impl Needs {
    /// What it is called where it fails as a whole.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stack => "service",
            Self::Fuzzer => "libfuzzer",
            Self::Agent => "agent",
        }
    }
}

/// A row that can be run.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) about: String,
    needs: Needs,
    /// How long it takes, in proportion to the others.
    seconds: u64,
}

impl Row {
    /// All rows: those of the program, and the fuzzers.
    pub(super) fn all(listed: Vec<Listed>) -> Vec<Self> {
        let needs = |listed: &Listed| if listed.needs_stack { Needs::Stack } else { Needs::Agent };
        let of_program = listed.into_iter().map(|listed| Self {
            needs: needs(&listed),
            name: listed.name,
            about: listed.about,
            seconds: listed.seconds,
        });
        let about = "102: every target of fuzz/, a minute each, from what earlier runs have found".to_owned();
        let fuzzers = Self { name: "fuzzers".to_owned(), about, needs: Needs::Fuzzer, seconds: FUZZERS_SECONDS };
        of_program.chain([fuzzers]).collect()
    }
}

/// The rows of these names; all where none is named.
pub(super) fn choose(rows: Vec<Row>, names: &[String]) -> Result<Vec<Row>> {
    if let Some(unknown) = names.iter().find(|name| !rows.iter().any(|row| row.name == **name)) {
        let known: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        bail!("there is no row {unknown}: the rows are {}", known.join(", "));
    }
    Ok(rows.into_iter().filter(|row| names.is_empty() || names.contains(&row.name)).collect())
}

/// The rows that have not run yet, and the end of their time.
pub(super) struct Plan {
    rows: VecDeque<Row>,
    end: Option<Instant>,
}

impl Plan {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        Self { rows: rows.into(), end: None }
    }

    /// Whether a row that needs this has not run yet.
    pub(super) fn needs(&self, needs: Needs) -> bool {
        self.rows.iter().any(|row| row.needs == needs)
    }

    /// The time runs from the first call on: what is built for later rows comes out of it.
    pub(super) fn start(&mut self, time: Duration) {
        self.end.get_or_insert_with(|| Instant::now() + time);
    }

    /// The next row that needs this, and its share of what is left of the time. What a row leaves is for those after it.
    pub(super) fn next(&mut self, needs: Needs) -> Option<(Row, Duration)> {
        let left = self.end.map_or(Duration::ZERO, |end| end.saturating_duration_since(Instant::now()));
        let all: u64 = self.rows.iter().map(|row| row.seconds).sum();
        let place = self.rows.iter().position(|row| row.needs == needs)?;
        let row = self.rows.remove(place)?;
        let share = left.mul_f64(row.seconds as f64 / all as f64).max(Duration::from_secs(1));
        Some((row, share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, needs: Needs, seconds: u64) -> Row {
        Row { name: name.to_owned(), about: String::new(), needs, seconds }
    }

    #[test]
    fn time_is_shared_in_proportion_and_what_is_left_is_handed_on() {
        let rows = vec![row("a", Needs::Agent, 1), row("s", Needs::Stack, 1), row("b", Needs::Agent, 2)];
        let mut plan = Plan::new(rows);
        plan.start(Duration::from_secs(4_000));
        let mut next = |needs| plan.next(needs).map(|(row, share)| (row.name, share.as_secs().div_ceil(10)));
        assert_eq!(next(Needs::Fuzzer), None);
        assert_eq!(next(Needs::Stack), Some(("s".to_owned(), 100)));
        // The first took no time, so that its share goes to the others.
        assert_eq!(next(Needs::Agent), Some(("a".to_owned(), 134)));
        assert_eq!(next(Needs::Agent), Some(("b".to_owned(), 400)));
        assert_eq!(next(Needs::Agent), None);
    }

    #[test]
    fn an_unknown_row_is_answered_with_the_known_ones() {
        let rows = || vec![row("a", Needs::Agent, 1), row("b", Needs::Agent, 1)];
        assert_eq!(choose(rows(), &[]).unwrap().len(), 2);
        assert_eq!(choose(rows(), &["b".to_owned()]).unwrap()[0].name, "b");
        let error = choose(rows(), &["c".to_owned()]).err().unwrap().to_string();
        assert_eq!(error, "there is no row c: the rows are a, b");
    }
}
