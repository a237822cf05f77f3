//! The records of the trail, and the hashes that chain them. Pure.
//!
//! A record is never changed. A request that takes long has two: one from when it was seen to do so, and one of its end. So whatever is
//! forgotten because it is old is always a beginning of the chain, and the rest can still be checked.

use cabana_protocol::audit::AuditVerification;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What is hashed and stored. The order of the fields is part of the hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its number, counted from 1 without gaps.
    pub(crate) id: u64,
    /// The number of the record whose end this is.
    pub(crate) begun: Option<u64>,
    /// When the request came, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// Whose the sandbox was.
    pub(crate) owner: String,
    /// Who asked.
    pub(crate) principal: String,
    /// On whose behalf.
    pub(crate) tenant: String,
    /// What was asked for.
    pub(crate) operation: String,
    /// What came of it.
    pub(crate) outcome: String,
    pub(crate) status: Option<u16>,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) request_id: String,
    /// The agent's word.
    pub(crate) summary: Option<String>,
}

/// A place in the chain: a record's number and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) hash: String,
}

impl Default for Link {
    /// What the first record follows.
    fn default() -> Self {
        Self { id: 0, hash: "0".repeat(64) }
    }
}

impl Link {
    /// The link of the record that follows this one.
    pub(crate) fn next(&self, record: &Record) -> Self {
        let content = serde_json::to_vec(record).expect("a record has string keys and no failing serialisers");
        let hash = Sha256::new().chain_update(&self.hash).chain_update(content).finalize();
        Self { id: record.id, hash: HEXLOWER.encode(&hash) }
    }
}

/// Checks a chain, record by record.
#[derive(Debug)]
pub(crate) struct Check {
    at: Link,
    records: u64,
    broken_at: Option<u64>,
}

impl Check {
    /// Begins behind what was forgotten.
    pub(crate) fn after(anchor: Link) -> Self {
        Self { at: anchor, records: 0, broken_at: None }
    }

    /// Takes the next record, with the hash that it was stored with.
    pub(crate) fn take(&mut self, record: &Record, hash: &str) {
        let expected = self.at.id + 1;
        let link = self.at.next(record);
        if record.id != expected || link.hash != hash {
            self.broken_at.get_or_insert(expected.min(record.id));
        }
        self.records += 1;
        // From what is stored: one bad record is not to hide where the next one is.
        self.at = Link { id: record.id, hash: hash.to_owned() };
    }

    /// The number of the last record that was taken.
    pub(crate) fn last(&self) -> u64 {
        self.at.id
    }

    /// What was found, where the newest record is known to be `head`.
    pub(crate) fn finish(mut self, head: &Link) -> AuditVerification {
        if self.at != *head {
            self.broken_at.get_or_insert(self.at.id.min(head.id) + 1);
        }
        let Self { at, records, broken_at } = self;
        AuditVerification { intact: broken_at.is_none(), broken_at, records, last: at.id, head: at.hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many chained records.
    fn chain(length: u64) -> (Vec<(Record, String)>, Link) {
        let mut head = Link::default();
        let records = (1..=length).map(|id| {
            let record =
                Record { id, operation: "exec".to_owned(), outcome: "ok".to_owned(), at_ms: 1_000 + id, ..Record::default() };
            head = head.next(&record);
            (record, head.hash.clone())
        });
        (records.collect(), head)
    }

    fn check(records: &[(Record, String)], anchor: Link, head: &Link) -> Option<u64> {
        let mut check = Check::after(anchor);
        records.iter().for_each(|(record, hash)| check.take(record, hash));
        let found = check.finish(head);
        assert_eq!(found.intact, found.broken_at.is_none());
        found.broken_at
    }

    #[test]
    fn what_was_tampered_with_is_found() {
        type Tamper = fn(&mut Vec<(Record, String)>);
        let cases: [(&str, Tamper, Option<u64>); 11] = [
            ("nothing", |_| {}, None),
            ("outcome", |records| records[2].0.outcome = "forbidden".to_owned(), Some(3)),
            ("time", |records| records[0].0.at_ms += 1, Some(1)),
            ("summary", |records| records[4].0.summary = Some(String::new()), Some(5)),
            ("hash", |records| records[2].1 = records[1].1.clone(), Some(3)),
            ("missing", |records| drop(records.remove(2)), Some(3)),
            ("first missing", |records| drop(records.remove(0)), Some(1)),
            ("last missing", |records| drop(records.pop()), Some(5)),
            ("all missing", Vec::clear, Some(1)),
            ("reordered", |records| records.swap(1, 2), Some(2)),
            (
                "rewritten",
                |records| {
                    let (record, hash) = &mut records[1];
                    record.principal = "somebody".to_owned();
                    let previous = chain(1).1;
                    *hash = previous.next(record).hash;
                },
                Some(3),
            ),
        ];
        for (what, tamper, broken_at) in cases {
            let (mut records, head) = chain(5);
            tamper(&mut records);
            assert_eq!(check(&records, Link::default(), &head), broken_at, "{what}");
        }
    }

    #[test]
    fn what_is_left_after_a_trim_can_be_checked() {
        let (records, head) = chain(5);
        let anchor = Link { id: 3, hash: records[2].1.clone() };
        assert_eq!(check(&records[3..], anchor.clone(), &head), None);
        assert_eq!(check(&records[4..], anchor, &head), Some(4));
        assert_eq!(check(&[], head.clone(), &head), None);
    }

    #[test]
    fn a_field_cannot_pass_for_another() {
        let link = |record: Record| Link::default().next(&record).hash;
        let one = Record { principal: "a".to_owned(), tenant: "b".to_owned(), ..Record::default() };
        let other = Record { principal: "a\",\"tenant\":\"b".to_owned(), ..Record::default() };
        assert_ne!(link(one), link(other));
    }
}
