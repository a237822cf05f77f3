//! What was counted of a sandbox's requests. Pure.

use std::collections::BTreeMap;

use cabana_protocol::{
    metrics::{Bucket, Histogram, RequestCount},
    table,
};
use serde::{Deserialize, Serialize};

use super::chain::Record;

/// Upper bounds of the buckets of durations, in milliseconds; the last bucket has none.
const BOUNDS_MS: [u64; 12] = [5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000, 120_000, 600_000];

/// What stands for all operations that there are not: a caller may ask for whatever it likes.
const OTHER: &str = "other";

/// Families that the gateway and the object answer for themselves.
const CONTROL: [&str; 5] = ["sandbox", "connect", "token", "port", "snapshot"];

/// Counters of one sandbox. They follow from the records of the audit, in their order, and are stored with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// The last record that was counted.
    pub(crate) through: u64,
    /// Whose the sandbox is; another's counts are nobody's business.
    owner: String,
    /// By operation and outcome.
    requests: BTreeMap<String, BTreeMap<String, u64>>,
    bytes_in: u64,
    bytes_out: u64,
    /// How many took so long; missing ones are 0.
    durations: Vec<u64>,
    duration_sum_ms: u64,
}

impl Counters {
    /// Counts a record. A request that takes long is counted when it is over.
    pub(crate) fn count(&mut self, record: &Record) {
        if self.owner != record.owner {
            *self = Self { owner: record.owner.clone(), ..Self::default() };
        }
        self.through = record.id;
        if record.outcome == "open" {
            return;
        }
        let by_outcome = self.requests.entry(known(&record.operation).to_owned()).or_default();
        *by_outcome.entry(record.outcome.clone()).or_default() += 1;
        self.bytes_in += record.bytes_in;
        self.bytes_out += record.bytes_out;
        if let Some(duration) = record.duration_ms {
            self.durations.resize(BOUNDS_MS.len() + 1, 0);
            self.durations[BOUNDS_MS.partition_point(|bound| *bound < duration)] += 1;
            self.duration_sum_ms += duration;
        }
    }

    /// How many requests of each operation came to which outcome.
    pub(crate) fn requests(&self) -> Vec<RequestCount> {
        let count = |(operation, by_outcome): (&String, &BTreeMap<String, u64>)| {
            let operation = operation.clone();
            by_outcome
                .iter()
                .map(move |(outcome, count)| RequestCount {
                    operation: operation.clone(),
                    outcome: outcome.clone(),
                    count: *count,
                })
                .collect::<Vec<_>>()
        };
        self.requests.iter().flat_map(count).collect()
    }

    /// Bytes of requests and of answers.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.bytes_in, self.bytes_out)
    }

    /// How long requests took.
    pub(crate) fn durations(&self) -> Histogram {
        let mut total = 0;
        let mut buckets: Vec<_> = (0..=BOUNDS_MS.len())
            .map(|index| {
                total += self.durations.get(index).copied().unwrap_or_default();
                Bucket { le_ms: BOUNDS_MS.get(index).copied(), count: total }
            })
            .collect();
        buckets.shrink_to_fit();
        Histogram { buckets, count: total, sum_ms: self.duration_sum_ms }
    }
}

fn known(operation: &str) -> &str {
    let family = operation.split('.').next().unwrap_or_default();
    if table::find(operation).is_some() || CONTROL.contains(&family) { operation } else { OTHER }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64, operation: &str, outcome: &str, duration_ms: Option<u64>) -> Record {
        let (operation, outcome, owner) = (operation.to_owned(), outcome.to_owned(), "a".to_owned());
        Record { id, operation, outcome, owner, duration_ms, bytes_in: 2, bytes_out: 3, ..Record::default() }
    }

    #[test]
    fn requests_are_counted_when_they_are_over() {
        let mut counters = Counters::default();
        for (id, (operation, outcome, duration)) in [
            ("exec", "open", None),
            ("exec", "finished", Some(700_000)),
            ("file.read", "ok", Some(5)),
            ("file.read", "ok", Some(6)),
            ("file.read", "not_found", Some(0)),
            ("no.such\"thing", "not_found", Some(1)),
            ("sandbox.create", "ok", Some(1)),
        ]
        .into_iter()
        .enumerate()
        {
            counters.count(&record(id as u64 + 1, operation, outcome, duration));
        }
        let counts: Vec<_> = counters
            .requests()
            .into_iter()
            .map(|count| format!("{} {} {}", count.operation, count.outcome, count.count))
            .collect();
        assert_eq!(
            counts,
            ["exec finished 1", "file.read not_found 1", "file.read ok 2", "other not_found 1", "sandbox.create ok 1"]
        );
        assert_eq!((counters.bytes(), counters.through), ((12, 18), 7));
        let durations = counters.durations();
        assert_eq!((durations.count, durations.sum_ms), (6, 700_013));
        let cumulative: Vec<_> = durations.buckets.iter().map(|bucket| bucket.count).collect();
        assert_eq!(cumulative, [4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6]);
        assert_eq!(durations.buckets.last().unwrap().le_ms, None);
    }

    #[test]
    fn another_owner_begins_afresh() {
        let mut counters = Counters::default();
        counters.count(&record(1, "exec", "ok", Some(1)));
        counters.count(&Record { owner: "b".to_owned(), ..record(2, "git.clone", "ok", Some(1)) });
        assert_eq!(counters.requests().len(), 1);
        assert_eq!((counters.through, counters.durations().count), (2, 1));
    }
}
