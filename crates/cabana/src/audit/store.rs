//! The trail in the object's SQLite. It outlives the sandbox, so its tables are its own.

use cabana_protocol::{
    Error, Untyped,
    audit::{AuditEntry, AuditPage, AuditVerification},
    decode_own,
};
use serde::{Deserialize, de::DeserializeOwned};
use worker::{SqlStorageValue, Storage};

use super::{
    chain::{Check, Link, Record},
    counters::Counters,
    query::Query,
};
use crate::{Principal, clock::rfc3339, lifecycle::Instant, rows};

const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY,
    begun INTEGER,
    at_ms INTEGER NOT NULL,
    owner TEXT NOT NULL,
    principal TEXT NOT NULL,
    tenant TEXT NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    duration_ms INTEGER,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    summary TEXT,
    hash TEXT NOT NULL
)",
    "CREATE INDEX IF NOT EXISTS audit_begun ON audit (begun) WHERE begun IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS audit_state (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
];

/// The link before the oldest record that is kept.
const ANCHOR: &str = "anchor";

/// [`Counters`], and the number of the last record that they count.
const COUNTERS: &str = "counters";

/// Records that are read at a time.
const CHUNK: u64 = 1_000;

/// Chunks that are verified in one go: the object does nothing else meanwhile.
const VERIFIED_CHUNKS: usize = 5;

/// The tables.
pub(super) struct Store(Storage);

/// A record as it is stored.
#[derive(Deserialize)]
struct Stored {
    #[serde(flatten)]
    record: Record,
    hash: String,
}

#[derive(Deserialize)]
struct Value {
    value: String,
}

#[derive(Deserialize)]
struct Number {
    number: Option<u64>,
}

impl Store {
    pub(super) fn new(storage: Storage) -> Self {
        Self(storage)
    }

    /// Whether there is a trail.
    pub(super) fn exists(&self) -> Result<bool, Error> {
        let tables = "SELECT count(*) AS number FROM sqlite_master WHERE type = 'table' AND name = 'audit_state'";
        Ok(self.number(tables, vec![])? > Some(0))
    }

    pub(super) fn make(&self) -> Result<(), Error> {
        TABLES.iter().try_for_each(|table| self.execute(table, vec![]))
    }

    /// The link of the newest record.
    pub(super) fn head(&self) -> Result<Link, Error> {
        match self.query("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1", vec![])?.pop() {
            Some(head) => Ok(head),
            None => self.anchor(),
        }
    }

    pub(super) fn anchor(&self) -> Result<Link, Error> {
        Ok(self.get(ANCHOR)?.unwrap_or_default())
    }

    pub(super) fn append(&self, record: &Record, hash: &str) -> Result<(), Error> {
        let values = vec![
            integer(record.id),
            record.begun.map(integer).unwrap_or(SqlStorageValue::Null),
            integer(record.at_ms),
            record.owner.as_str().into(),
            record.principal.as_str().into(),
            record.tenant.as_str().into(),
            record.operation.as_str().into(),
            record.outcome.as_str().into(),
            record.status.map(|status| integer(status.into())).unwrap_or(SqlStorageValue::Null),
            record.duration_ms.map(integer).unwrap_or(SqlStorageValue::Null),
            integer(record.bytes_in),
            integer(record.bytes_out),
            record.request_id.as_str().into(),
            record.summary.clone().into(),
            hash.into(),
        ];
        self.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    }

    /// Whether there is anything that the caller may see.
    pub(super) fn shows(&self, principal: &Principal) -> Result<bool, Error> {
        let any = "SELECT id AS number FROM audit WHERE ?1 IS NULL OR owner = ?1 LIMIT 1";
        Ok(self.number(any, vec![owner(principal)])?.is_some())
    }

    /// The entries that are wanted, of those that the caller may see. What is open and not in `open` was lost.
    pub(super) fn page(&self, query: &Query, principal: &Principal, open: &[u64]) -> Result<AuditPage, Error> {
        let text = |text: &Option<String>| SqlStorageValue::from(text.clone());
        let number = |number: Option<u64>| number.map(integer).unwrap_or(SqlStorageValue::Null);
        let values = vec![
            serde_json::to_string(open).unwrap_or_default().into(),
            owner(principal),
            number(query.from_ms),
            number(query.to_ms),
            text(&query.operation),
            text(&query.principal),
            number(query.before),
            text(&query.outcome),
            integer(u64::from(query.limit) + 1),
        ];
        let mut found = self.query::<Stored>(PAGE, values)?;
        let more = found.len() > query.limit as usize;
        found.truncate(query.limit as usize);
        let cursor = found.last().filter(|_| more).map(|last| last.record.id.to_string());
        let entries = found.into_iter().map(Stored::entry).collect::<Result<_, _>>()?;
        Ok(AuditPage { entries, cursor })
    }

    /// Checks a page of the records that are kept, up to the newest, which is `head`; from where the page before has ended, if not from the
    /// oldest. `noted`: a link that is known from elsewhere.
    pub(super) fn verify(&self, from: Option<Link>, noted: Option<Link>, head: &Link) -> Result<AuditVerification, Error> {
        let forgotten = self.anchor()?;
        // What the last page has checked may have been forgotten since.
        let from = from.filter(|from| from.id > forgotten.id).unwrap_or(forgotten);
        let mut check = Check::after(from, noted);
        for _ in 0..VERIFIED_CHUNKS {
            let chunk = self.after(check.last(), CHUNK)?;
            if chunk.is_empty() {
                return Ok(check.finish(head));
            }
            chunk.iter().for_each(|stored| check.take(&stored.record, &stored.hash));
        }
        Ok(if check.last() == head.id { check.finish(head) } else { check.pause() })
    }

    /// The counters, brought up to the newest record, and the last record that the stored ones count.
    pub(super) fn counters(&self) -> Result<(Counters, u64), Error> {
        let mut counters: Counters = self.get(COUNTERS)?.unwrap_or_default();
        let stored = counters.through;
        loop {
            let chunk = self.after(counters.through, CHUNK)?;
            if chunk.is_empty() {
                return Ok((counters, stored));
            }
            chunk.iter().for_each(|stored| counters.count(&stored.record));
        }
    }

    pub(super) fn save_counters(&self, counters: &Counters) -> Result<(), Error> {
        self.set(COUNTERS, counters)
    }

    /// The number of the last record from before this time, which only older ones precede.
    pub(super) fn last_before(&self, at_ms: u64, head: &Link) -> Result<u64, Error> {
        let first = "SELECT id AS number FROM audit WHERE at_ms >= ? ORDER BY id LIMIT 1";
        Ok(self.number(first, vec![integer(at_ms)])?.map_or(head.id, |first| first - 1))
    }

    /// When the oldest and the newest record's requests came.
    pub(super) fn span(&self) -> Result<Option<(Instant, Instant)>, Error> {
        let oldest = self.number("SELECT at_ms AS number FROM audit ORDER BY id LIMIT 1", vec![])?;
        let newest = self.number("SELECT at_ms AS number FROM audit ORDER BY id DESC LIMIT 1", vec![])?;
        Ok(oldest.map(Instant).zip(newest.map(Instant)))
    }

    /// Forgets the records up to this number. The counters must have counted them.
    pub(super) fn trim(&self, through: u64) -> Result<(), Error> {
        let link =
            self.query::<Link>("SELECT id, hash FROM audit WHERE id <= ? ORDER BY id DESC LIMIT 1", vec![integer(through)])?;
        let Some(link) = link.first() else { return Ok(()) };
        self.set(ANCHOR, link)?;
        self.execute("DELETE FROM audit WHERE id <= ?", vec![integer(link.id)])
    }

    fn after(&self, id: u64, limit: u64) -> Result<Vec<Stored>, Error> {
        self.query("SELECT * FROM audit WHERE id > ? ORDER BY id LIMIT ?", vec![integer(id), integer(limit)])
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let found = self.query::<Value>("SELECT value FROM audit_state WHERE name = ?", vec![name.into()])?.pop();
        let decode =
            |found: Value| decode_own(found.value.as_bytes()).map_err(|_| Error::internal("the audit's state cannot be decoded"));
        found.map(decode).transpose()
    }

    fn set(&self, name: &str, value: &impl serde::Serialize) -> Result<(), Error> {
        let value = serde_json::to_string(value).map_err(|_| Error::internal("the audit's state cannot be encoded"))?;
        self.execute("INSERT OR REPLACE INTO audit_state VALUES (?, ?)", vec![name.into(), value.into()])
    }

    fn number(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<Option<u64>, Error> {
        Ok(self.query::<Number>(query, values)?.pop().and_then(|row| row.number))
    }

    fn execute(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<(), Error> {
        self.0.sql().exec(query, values).map(drop).map_err(failed)
    }

    fn query<T: DeserializeOwned>(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<Vec<T>, Error> {
        rows::query(&self.0, query, values).map_err(failed)
    }
}

/// A request that took long has its end in a record of its own. The numbered parameters are in the order of [`Store::page`].
const PAGE: &str = "SELECT * FROM (
    SELECT b.id, NULL AS begun, b.at_ms, b.owner, b.principal, b.tenant, b.operation,
        CASE
            WHEN e.id IS NOT NULL THEN e.outcome
            WHEN b.outcome <> 'open' OR b.id IN (SELECT value FROM json_each(?1)) THEN b.outcome
            ELSE 'lost'
        END AS outcome,
        coalesce(e.status, b.status) AS status, coalesce(e.duration_ms, b.duration_ms) AS duration_ms,
        coalesce(e.bytes_in, b.bytes_in) AS bytes_in, coalesce(e.bytes_out, b.bytes_out) AS bytes_out,
        b.request_id, coalesce(e.summary, b.summary) AS summary, coalesce(e.hash, b.hash) AS hash
    FROM audit b LEFT JOIN audit e ON e.begun = b.id
    WHERE b.begun IS NULL
        AND (?2 IS NULL OR b.owner = ?2)
        AND (?3 IS NULL OR b.at_ms >= ?3)
        AND (?4 IS NULL OR b.at_ms < ?4)
        AND (?5 IS NULL OR b.operation = ?5 OR substr(b.operation, 1, length(?5) + 1) = ?5 || '.')
        AND (?6 IS NULL OR b.principal = ?6)
        AND (?7 IS NULL OR b.id < ?7)
) WHERE ?8 IS NULL OR outcome = ?8
ORDER BY id DESC LIMIT ?9";

impl Stored {
    fn entry(self) -> Result<AuditEntry, Error> {
        let Record { id, at_ms, principal, tenant, operation, outcome, status, duration_ms, .. } = self.record;
        let Record { bytes_in, bytes_out, request_id, summary, .. } = self.record;
        let outcome = Untyped::from(serde_json::Value::from(outcome))
            .read()
            .map_err(|_| Error::internal("an outcome cannot be decoded"))?;
        let (tenant, at, agent_summary, hash) = (tenant.parse()?, rfc3339(Instant(at_ms)), summary, self.hash);
        Ok(AuditEntry {
            id,
            at,
            principal,
            tenant,
            operation,
            outcome,
            status,
            duration_ms,
            bytes_in,
            bytes_out,
            request_id,
            agent_summary,
            hash,
        })
    }
}

/// Whose entries the caller may see; null for all.
fn owner(principal: &Principal) -> SqlStorageValue {
    (!principal.operator).then(|| principal.tenant.as_str()).into()
}

fn integer(value: u64) -> SqlStorageValue {
    i64::try_from(value).unwrap_or(i64::MAX).into()
}

fn failed(error: worker::Error) -> Error {
    Error::internal(format!("the storage of the audit failed: {error}"))
}
