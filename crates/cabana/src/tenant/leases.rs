//! Who holds which place, in SQLite. What is counted and taken in one call cannot be taken by another meanwhile: nothing here waits.

use cabana_protocol::Error;
use serde::{Deserialize, de::DeserializeOwned};
use worker::{SqlStorageValue, Storage};

use super::place::{Holder, Place};
use crate::rows;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS lease (
    place TEXT NOT NULL,
    sandbox TEXT NOT NULL,
    binding TEXT NOT NULL,
    stamp INTEGER NOT NULL,
    confirmed_ms INTEGER NOT NULL,
    PRIMARY KEY (place, sandbox)
)";

/// The table.
pub(super) struct Leases(Storage);

/// A place that is held.
#[derive(Debug, Deserialize)]
pub(super) struct Lease {
    #[serde(flatten)]
    pub(super) holder: Holder,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

impl Leases {
    pub(super) fn new(storage: Storage) -> Result<Self, Error> {
        let leases = Self(storage);
        leases.execute(TABLE, vec![])?;
        Ok(leases)
    }

    /// Takes a place, unless as many are taken as there are: then that number. Who has one keeps it.
    pub(super) fn take(&self, place: Place, holder: &Holder, now: u64, limit: Option<u64>) -> Result<Result<(), u64>, Error> {
        let others = "SELECT count(*) AS count FROM lease WHERE place = ? AND sandbox <> ?";
        let others = self.query::<Count>(others, vec![name(place), holder.sandbox.as_str().into()])?;
        let others = others.first().map_or(0, |row| row.count);
        if limit.is_some_and(|limit| others >= limit) && !self.has(place, holder)? {
            return Ok(Err(others));
        }
        let values = vec![
            name(place),
            holder.sandbox.as_str().into(),
            holder.binding.as_str().into(),
            integer(holder.stamp),
            integer(now),
        ];
        self.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?)", values).map(Ok)
    }

    /// Gives a place back, unless it was taken again since. Does nothing where there is none.
    pub(super) fn give(&self, place: Place, holder: &Holder) -> Result<(), Error> {
        let delete = "DELETE FROM lease WHERE place = ? AND sandbox = ? AND stamp <= ?";
        self.execute(delete, vec![name(place), holder.sandbox.as_str().into(), integer(holder.stamp)])
    }

    /// Notes that the holder has it still.
    pub(super) fn confirm(&self, place: Place, holder: &Holder, now: u64) -> Result<(), Error> {
        let update = "UPDATE lease SET confirmed_ms = ? WHERE place = ? AND sandbox = ?";
        self.execute(update, vec![integer(now), name(place), holder.sandbox.as_str().into()])
    }

    /// Places that were confirmed last before this time, the oldest first.
    pub(super) fn oldest(&self, place: Place, before: u64, most: usize) -> Result<Vec<Lease>, Error> {
        let oldest =
            "SELECT sandbox, binding, stamp FROM lease WHERE place = ? AND confirmed_ms < ? ORDER BY confirmed_ms LIMIT ?";
        self.query(oldest, vec![name(place), integer(before), integer(most as u64)])
    }

    fn has(&self, place: Place, holder: &Holder) -> Result<bool, Error> {
        let own = "SELECT count(*) AS count FROM lease WHERE place = ? AND sandbox = ?";
        let own = self.query::<Count>(own, vec![name(place), holder.sandbox.as_str().into()])?;
        Ok(own.first().is_some_and(|row| row.count > 0))
    }

    fn execute(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<(), Error> {
        self.0.sql().exec(query, values).map(drop).map_err(failed)
    }

    fn query<T: DeserializeOwned>(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<Vec<T>, Error> {
        rows::query(&self.0, query, values).map_err(failed)
    }
}

fn name(place: Place) -> SqlStorageValue {
    match place {
        Place::Sandbox => "sandbox",
        Place::Running => "running",
        Place::Snapshot => "snapshot",
    }
    .into()
}

fn integer(value: u64) -> SqlStorageValue {
    i64::try_from(value).unwrap_or(i64::MAX).into()
}

fn failed(error: worker::Error) -> Error {
    Error::internal(format!("the storage of the tenant failed: {error}"))
}
