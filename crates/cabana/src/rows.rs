//! Rows of a database, as the runtime gives them.

use cabana_protocol::Untyped;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use worker::{Error, Result, SqlStorageValue, Storage};

/// A row, an object by column.
pub(crate) struct Row(Untyped<'static>);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(Self(Untyped::deserialize(deserializer)?.into_owned()))
    }
}

/// Carries out a statement in an object's own database, and reads its rows.
pub(crate) fn query<T: DeserializeOwned>(storage: &Storage, query: &str, values: Vec<SqlStorageValue>) -> Result<Vec<T>> {
    read(storage.sql().exec(query, values)?.to_array()?)
}

/// Reads rows as values of a type.
pub(crate) fn read<T: DeserializeOwned>(rows: Vec<Row>) -> Result<Vec<T>> {
    rows.into_iter().map(|row| row.0.read().map_err(|error| Error::RustError(error.message))).collect()
}
