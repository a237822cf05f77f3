//! What a sandbox remembers, in its Durable Object's SQLite storage.

use std::collections::BTreeMap;

use cabana_protocol::{
    Error, SandboxId, Tenant,
    sandbox::{Sandbox, State},
};
use serde::Deserialize;
use worker::{SqlStorageValue, Storage};

/// Each entry brings the schema from the version that is its index to the next. Only ever append.
const MIGRATIONS: [&str; 2] = [
    "CREATE TABLE sandbox (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    id TEXT NOT NULL,
    env TEXT NOT NULL,
    created_at TEXT NOT NULL,
    state TEXT NOT NULL,
    failure TEXT,
    secret TEXT NOT NULL,
    incarnation INTEGER NOT NULL
)",
    "ALTER TABLE sandbox ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default'",
];

/// One sandbox. It has no `Debug`: its variables and its secret belong into no log.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) id: SandboxId,
    /// Whose it is.
    pub(super) tenant: Tenant,
    /// Variables for every command, null for one of the image's that it is not to see; may hold secrets.
    pub(super) env: BTreeMap<String, Option<String>>,
    /// RFC 3339 in UTC.
    pub(super) created_at: String,
    pub(super) state: State,
    /// Why the last start failed.
    pub(super) failure: Option<String>,
    /// What the agent of the present container asks for. Stored, so that an object that was evicted can still talk to it.
    pub(super) secret: String,
    /// How many containers were started; tells the present one from those before.
    pub(super) incarnation: u64,
}

impl Record {
    /// What callers see.
    pub(super) fn describe(&self) -> Sandbox {
        Sandbox {
            id: self.id.clone(),
            kind: self.id.kind().to_owned(),
            state: self.state,
            created_at: self.created_at.clone(),
            failure: self.failure.clone().filter(|_| self.state == State::Failed),
        }
    }
}

/// The storage of one Durable Object. An object that holds no sandbox has no tables either: looking leaves no trace.
pub(super) struct Records(Storage);

#[derive(Deserialize)]
struct Row {
    id: String,
    tenant: String,
    env: String,
    created_at: String,
    state: String,
    failure: Option<String>,
    secret: String,
    incarnation: u64,
}

#[derive(Deserialize)]
struct Version {
    version: usize,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

impl Records {
    pub(super) fn new(storage: Storage) -> Self {
        Self(storage)
    }

    /// The stored sandbox, its schema brought up to date.
    pub(super) fn load(&self) -> Result<Option<Record>, Error> {
        let tables = "SELECT count(*) AS count FROM sqlite_master WHERE type = 'table' AND name = 'schema'";
        if self.query::<Count>(tables)?.iter().all(|row| row.count == 0) {
            return Ok(None);
        }
        self.migrate()?;
        self.query::<Row>("SELECT * FROM sandbox")?.pop().map(Record::try_from).transpose()
    }

    /// Stores the sandbox in place of what was there.
    pub(super) fn save(&self, record: &Record) -> Result<(), Error> {
        let values = vec![
            record.id.as_str().into(),
            encode(&record.env)?.into(),
            record.created_at.as_str().into(),
            encode(&record.state)?.into(),
            record.failure.clone().into(),
            record.secret.as_str().into(),
            i64::try_from(record.incarnation).unwrap_or(i64::MAX).into(),
            record.tenant.as_str().into(),
        ];
        // In the order in which the migrations have made the columns.
        let insert = "INSERT OR REPLACE INTO sandbox VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)";
        self.execute(insert, values)
    }

    /// Makes the tables, ahead of the first save.
    pub(super) fn migrate(&self) -> Result<(), Error> {
        self.execute("CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL)", vec![])?;
        let version = self.query::<Version>("SELECT version FROM schema")?.pop();
        let current = version.as_ref().map_or(0, |row| row.version);
        for migration in MIGRATIONS.iter().skip(current) {
            self.execute(migration, vec![])?;
        }
        match version {
            None => self.execute("INSERT INTO schema VALUES (?)", vec![(MIGRATIONS.len() as i32).into()]),
            Some(_) if current < MIGRATIONS.len() => {
                self.execute("UPDATE schema SET version = ?", vec![(MIGRATIONS.len() as i32).into()])
            }
            Some(_) => Ok(()),
        }
    }

    /// Forgets the sandbox at once; [`Self::wipe`] then frees the storage.
    pub(super) fn remove(&self) -> Result<(), Error> {
        self.execute("DELETE FROM sandbox", vec![])
    }

    /// Frees the storage, tables and all.
    pub(super) async fn wipe(&self) -> Result<(), Error> {
        self.0.delete_all().await.map_err(failed)
    }

    fn execute(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<(), Error> {
        self.0.sql().exec(query, values).map(drop).map_err(failed)
    }

    fn query<T: serde::de::DeserializeOwned>(&self, query: &str) -> Result<Vec<T>, Error> {
        self.0.sql().exec(query, None).and_then(|cursor| cursor.to_array()).map_err(failed)
    }
}

impl TryFrom<Row> for Record {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.id.parse()?,
            tenant: row.tenant.parse()?,
            env: decode(&row.env)?,
            created_at: row.created_at,
            state: decode(&row.state)?,
            failure: row.failure,
            secret: row.secret,
            incarnation: row.incarnation,
        })
    }
}

pub(super) fn encode(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::internal("a field of the sandbox cannot be encoded"))
}

fn decode<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    // The message of serde would quote the value, which may be a secret.
    serde_json::from_str(text).map_err(|_| Error::internal("a stored field cannot be decoded"))
}

fn failed(error: worker::Error) -> Error {
    Error::internal(format!("the sandbox's storage failed: {error}"))
}
