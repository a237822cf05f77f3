//! The catalog of a tenant in the SQLite of its object.

use std::collections::BTreeSet;

use cabana_protocol::{
    Error,
    chunk::ChunkName,
    decode_own,
    sandbox::{Archive, ArchiveId},
};
use serde::{Deserialize, de::DeserializeOwned};
use worker::{SqlStorageValue, Storage};

use super::catalog::Rows;
use crate::{lifecycle::Instant, rows};

const TABLES: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS archive (id TEXT PRIMARY KEY, created INTEGER NOT NULL, archive TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS archive_chunk (chunk TEXT NOT NULL, archive TEXT NOT NULL, PRIMARY KEY (chunk, archive)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS archive_chunk_archive ON archive_chunk (archive)",
    "CREATE TABLE IF NOT EXISTS archive_writer (id TEXT PRIMARY KEY, until INTEGER NOT NULL)",
    // What there is one of: when a sweep's lease ends, since when there may be garbage.
    "CREATE TABLE IF NOT EXISTS archive_instant (name TEXT PRIMARY KEY, at INTEGER NOT NULL)",
];

const SWEEPING: &str = "sweeping";
const DIRTY: &str = "dirty";

/// The tables.
pub(crate) struct Sql(Storage);

#[derive(Deserialize)]
struct Stored {
    archive: String,
}

#[derive(Deserialize)]
struct Writer {
    id: String,
    until: u64,
}

#[derive(Deserialize)]
struct At {
    at: u64,
}

#[derive(Deserialize)]
struct Name {
    chunk: String,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

impl Sql {
    pub(crate) fn new(storage: Storage) -> Result<Self, Error> {
        let sql = Self(storage);
        TABLES.into_iter().try_for_each(|table| sql.execute(table, vec![]))?;
        Ok(sql)
    }

    fn instant(&self, name: &str) -> Result<Option<Instant>, Error> {
        let rows = self.query::<At>("SELECT at FROM archive_instant WHERE name = ?", vec![name.into()])?;
        Ok(rows.first().map(|row| Instant(row.at)))
    }

    fn set_instant(&self, name: &str, at: Option<Instant>) -> Result<(), Error> {
        match at {
            Some(at) => self.execute("INSERT OR REPLACE INTO archive_instant VALUES (?, ?)", vec![name.into(), integer(at.0)]),
            None => self.execute("DELETE FROM archive_instant WHERE name = ?", vec![name.into()]),
        }
    }

    fn execute(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<(), Error> {
        self.0.sql().exec(query, values).map(drop).map_err(failed)
    }

    fn query<T: DeserializeOwned>(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<Vec<T>, Error> {
        rows::query(&self.0, query, values).map_err(failed)
    }
}

// Nothing waits in between, so the runtime commits the writes of a call, and of calls in a row, together.
impl Rows for Sql {
    fn writers(&self) -> Result<Vec<(ArchiveId, Instant)>, Error> {
        let rows = self.query::<Writer>("SELECT id, until FROM archive_writer", vec![])?;
        rows.into_iter().map(|row| Ok((row.id.parse()?, Instant(row.until)))).collect()
    }

    fn put_writer(&self, id: &ArchiveId, until: Instant) -> Result<(), Error> {
        self.execute("INSERT OR REPLACE INTO archive_writer VALUES (?, ?)", vec![id.as_str().into(), integer(until.0)])
    }

    fn remove_writer(&self, id: &ArchiveId) -> Result<(), Error> {
        self.execute("DELETE FROM archive_writer WHERE id = ?", vec![id.as_str().into()])
    }

    fn sweeping(&self) -> Result<Option<Instant>, Error> {
        self.instant(SWEEPING)
    }

    fn set_sweeping(&self, until: Option<Instant>) -> Result<(), Error> {
        self.set_instant(SWEEPING, until)
    }

    fn dirty(&self) -> Result<Option<Instant>, Error> {
        self.instant(DIRTY)
    }

    fn set_dirty(&self, since: Option<Instant>) -> Result<(), Error> {
        self.set_instant(DIRTY, since)
    }

    fn archives(&self) -> Result<Vec<Archive>, Error> {
        let rows = self.query::<Stored>("SELECT archive FROM archive ORDER BY created DESC, id", vec![])?;
        rows.iter().map(|row| decode(&row.archive)).collect()
    }

    fn archive(&self, id: &ArchiveId) -> Result<Option<Archive>, Error> {
        let rows = self.query::<Stored>("SELECT archive FROM archive WHERE id = ?", vec![id.as_str().into()])?;
        rows.first().map(|row| decode(&row.archive)).transpose()
    }

    fn put_archive(&self, archive: &Archive, chunks: &BTreeSet<ChunkName>) -> Result<(), Error> {
        let id = archive.id.as_str();
        let text = serde_json::to_string(archive).map_err(|_| Error::internal("an archive cannot be encoded"))?;
        let created = "INSERT OR REPLACE INTO archive VALUES (?, (SELECT coalesce(max(created), 0) + 1 FROM archive), ?)";
        self.execute(created, vec![id.into(), text.into()])?;
        let insert = "INSERT OR IGNORE INTO archive_chunk VALUES (?, ?)";
        chunks.iter().try_for_each(|chunk| self.execute(insert, vec![chunk.to_string().into(), id.into()]))
    }

    fn remove_archive(&self, id: &ArchiveId) -> Result<(), Error> {
        self.execute("DELETE FROM archive_chunk WHERE archive = ?", vec![id.as_str().into()])?;
        self.execute("DELETE FROM archive WHERE id = ?", vec![id.as_str().into()])
    }

    fn chunks(&self, most: usize) -> Result<Vec<ChunkName>, Error> {
        let names =
            "SELECT chunk, max(archive.created) AS newest FROM archive_chunk JOIN archive ON archive.id = archive_chunk.archive
            GROUP BY chunk ORDER BY newest DESC LIMIT ?";
        let rows = self.query::<Name>(names, vec![integer(most as u64)])?;
        Ok(rows.iter().filter_map(|row| ChunkName::parse(&row.chunk)).collect())
    }

    fn needs(&self, chunk: &ChunkName) -> Result<bool, Error> {
        let count = "SELECT count(*) AS count FROM archive_chunk WHERE chunk = ?";
        Ok(self.query::<Count>(count, vec![chunk.to_string().into()])?.iter().any(|row| row.count > 0))
    }
}

fn integer(number: u64) -> SqlStorageValue {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn decode(text: &str) -> Result<Archive, Error> {
    decode_own(text.as_bytes()).map_err(|_| Error::internal("a stored archive cannot be decoded"))
}

fn failed(error: worker::Error) -> Error {
    Error::internal(format!("the storage of the tenant failed: {error}"))
}
