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
    /// The link as a page of a verification names it.
    fn to_cursor(&self) -> String {
        format!("{}.{}", self.id, self.hash)
    }

    /// Undoes that; `None` for what is no cursor. Nothing else vouches for it: what follows another link is not intact.
    pub(crate) fn from_cursor(cursor: &str) -> Option<Self> {
        let (id, hash) = cursor.split_once('.')?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(Self { id: id.parse().ok()?, hash: hash.to_owned() }).filter(|_| is_hash)
    }

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
    /// What is known from outside the table.
    noted: Option<Link>,
    confirmed: bool,
    records: u64,
    broken_at: Option<u64>,
}

impl Check {
    /// Begins behind this link: what was forgotten, or what an earlier check has come to. `noted`: a link that is known from elsewhere.
    pub(crate) fn after(at: Link, noted: Option<Link>) -> Self {
        Self { at, noted, confirmed: false, records: 0, broken_at: None }
    }

    /// Takes the next record, with the hash that it was stored with.
    pub(crate) fn take(&mut self, record: &Record, hash: &str) {
        let expected = self.at.id + 1;
        let link = self.at.next(record);
        if record.id != expected || link.hash != hash {
            self.broken_at.get_or_insert(expected.min(record.id));
        }
        if let Some(noted) = self.noted.as_ref().filter(|noted| noted.id == record.id) {
            self.confirmed = noted.hash == hash;
            if !self.confirmed {
                self.broken_at.get_or_insert(record.id);
            }
        }
        self.records += 1;
        // From what is stored: one bad record is not to hide where the next one is.
        self.at = Link { id: record.id, hash: hash.to_owned() };
    }

    /// The number of the last record that was taken.
    pub(crate) fn last(&self) -> u64 {
        self.at.id
    }

    /// What was found up to here. More follows.
    pub(crate) fn pause(self) -> AuditVerification {
        let cursor = Some(self.at.to_cursor());
        AuditVerification { cursor, ..self.found() }
    }

    /// What was found, where the newest record is known to be `head`.
    pub(crate) fn finish(mut self, head: &Link) -> AuditVerification {
        if self.at != *head {
            self.broken_at.get_or_insert(self.at.id.min(head.id) + 1);
        }
        // What is noted comes after it was written.
        if self.noted.as_ref().is_some_and(|noted| noted.id > self.at.id) {
            self.broken_at.get_or_insert(self.at.id + 1);
        }
        self.found()
    }

    fn found(self) -> AuditVerification {
        let Self { at, noted, confirmed, records, broken_at } = self;
        AuditVerification {
            intact: broken_at.is_none(),
            broken_at,
            records,
            last: at.id,
            head: at.hash,
            anchor: noted.filter(|_| confirmed).map(|noted| noted.id),
            cursor: None,
        }
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
        let mut check = Check::after(anchor, None);
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
    fn a_cut_tail_and_a_rewritten_chain_show_by_what_was_noted_elsewhere() {
        let (records, head) = chain(6);
        let link = |records: &[(Record, String)]| records.last().map(|(record, hash)| Link { id: record.id, hash: hash.clone() });
        let noted = link(&records[..4]);
        let check = |records: &[(Record, String)], at: Link, noted: &Option<Link>| {
            let mut check = Check::after(at, noted.clone());
            records.iter().for_each(|(record, hash)| check.take(record, hash));
            // The newest row is all that the table itself knows.
            let found = check.finish(&link(records).unwrap_or_default());
            (found.broken_at, found.anchor)
        };
        assert_eq!(check(&records, Link::default(), &noted), (None, Some(4)));
        assert_eq!(check(&records[..5], Link::default(), &noted), (None, Some(4)), "newer than what was noted");
        assert_eq!(check(&records[..3], Link::default(), &noted), (Some(4), None));
        assert_eq!(check(&[], Link::default(), &noted), (Some(1), None));
        assert_eq!(check(&records[..3], Link::default(), &None), (None, None));
        let mut at = Link::default();
        let rewritten: Vec<_> = records
            .iter()
            .map(|(record, _)| {
                let record = Record { principal: "nobody".to_owned(), ..record.clone() };
                at = at.next(&record);
                (record, at.hash.clone())
            })
            .collect();
        assert_eq!(check(&rewritten, Link::default(), &noted), (Some(4), None));
        // It was forgotten meanwhile, as it was too old.
        let mut late = Check::after(head.clone(), noted);
        late.take(&Record { id: 7, ..Record::default() }, &head.next(&Record { id: 7, ..Record::default() }).hash);
        assert!(late.pause().intact);
    }

    #[test]
    fn pages_of_a_verification_join() {
        let (records, head) = chain(5);
        let mut check = Check::after(Link::default(), None);
        records[..2].iter().for_each(|(record, hash)| check.take(record, hash));
        let first = check.pause();
        assert_eq!((first.intact, first.records, first.last), (true, 2, 2));
        let cursor = Link::from_cursor(&first.cursor.unwrap()).unwrap();
        assert_eq!(super::tests::check(&records[2..], cursor.clone(), &head), None);
        assert_eq!(super::tests::check(&records[2..], Link { hash: head.hash.clone(), ..cursor }, &head), Some(3));
        for nonsense in ["", "7", "7.", "x.y", &format!("-1.{}", head.hash), &format!("1.{}g", &head.hash[1..])] {
            assert_eq!(Link::from_cursor(nonsense), None, "{nonsense}");
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
