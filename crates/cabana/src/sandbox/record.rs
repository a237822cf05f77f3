//! What a sandbox remembers, in its Durable Object's SQLite storage.

use std::{collections::BTreeMap, time::Duration};

use cabana_protocol::{
    Error, SandboxId, Tenant,
    sandbox::{Labels, Sandbox, State},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use worker::{Date, SqlStorageValue, Storage};

use crate::directory::Entry;

/// Each entry brings the schema from the version that is its index to the next. Only ever append.
const MIGRATIONS: [&str; 4] = [
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
    "ALTER TABLE sandbox ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE sandbox ADD COLUMN project TEXT;
ALTER TABLE sandbox ADD COLUMN updated_at TEXT NOT NULL DEFAULT '';
ALTER TABLE sandbox ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
CREATE TABLE owed (singleton INTEGER PRIMARY KEY CHECK (singleton = 1), version INTEGER NOT NULL, entry TEXT NOT NULL)",
    "CREATE TABLE port (port INTEGER PRIMARY KEY, exposure TEXT NOT NULL)",
];

/// One sandbox. It has no `Debug`: its variables and its secret belong into no log.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) id: SandboxId,
    /// Whose it is.
    pub(super) tenant: Tenant,
    /// Variables for every command, null for one of the image's that it is not to see; may hold secrets.
    pub(super) env: BTreeMap<String, Option<String>>,
    pub(super) labels: Labels,
    /// The project that it was made for.
    pub(super) project: Option<String>,
    /// RFC 3339 in UTC.
    pub(super) created_at: String,
    pub(super) state: State,
    /// Why the last start failed.
    pub(super) failure: Option<String>,
    /// What the agent of the present container asks for. Stored, so that an object that was evicted can still talk to it.
    pub(super) secret: String,
    /// How many containers were started; tells the present one from those before.
    pub(super) incarnation: u64,
    /// RFC 3339 in UTC.
    pub(super) updated_at: String,
    /// Grows with each change, see [`Entry::version`](crate::directory::Entry::version).
    pub(super) version: u64,
}

impl Record {
    /// What callers see.
    pub(super) fn describe(&self) -> Sandbox {
        Sandbox {
            id: self.id.clone(),
            tenant: self.tenant.clone(),
            kind: self.id.kind().to_owned(),
            project: self.project.clone(),
            labels: self.labels.clone(),
            state: self.state,
            created_at: self.created_at.clone(),
            updated_at: self.updated_at.clone(),
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
    labels: String,
    project: Option<String>,
    updated_at: String,
    version: u64,
}

#[derive(Deserialize)]
struct Owed {
    entry: String,
}

#[derive(Deserialize)]
struct Exposed {
    exposure: String,
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

    /// Whether there are any tables.
    pub(super) fn exist(&self) -> Result<bool, Error> {
        let tables = "SELECT count(*) AS count FROM sqlite_master WHERE type = 'table' AND name = 'schema'";
        Ok(self.query::<Count>(tables)?.iter().any(|row| row.count > 0))
    }

    /// The stored sandbox, its schema brought up to date.
    pub(super) fn load(&self) -> Result<Option<Record>, Error> {
        if !self.exist()? {
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
            integer(record.incarnation),
            record.tenant.as_str().into(),
            encode(&record.labels)?.into(),
            record.project.clone().into(),
            record.updated_at.as_str().into(),
            integer(record.version),
        ];
        // In the order in which the migrations have made the columns.
        let insert = "INSERT OR REPLACE INTO sandbox VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
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

    /// Stores what the directory is still to be told, in place of what it was to be told before.
    pub(super) fn owe(&self, entry: &Entry) -> Result<(), Error> {
        self.execute("INSERT OR REPLACE INTO owed VALUES (1, ?, ?)", vec![integer(entry.version), encode(entry)?.into()])
    }

    /// What the directory is still to be told.
    pub(super) fn owed(&self) -> Result<Option<Entry>, Error> {
        self.query::<Owed>("SELECT entry FROM owed")?.pop().map(|row| decode(&row.entry)).transpose()
    }

    /// Notes that the directory knows of this version.
    pub(super) fn settle(&self, version: u64) -> Result<(), Error> {
        self.execute("DELETE FROM owed WHERE version = ?", vec![integer(version)])
    }

    /// Has the object woken after this time, unless it is to be woken before.
    pub(super) async fn wake_after(&self, time: Duration) -> Result<(), Error> {
        let due = Date::now().as_millis() as i64 + time.as_millis() as i64;
        let sooner = self.0.get_alarm().await.map_err(failed)?.is_some_and(|alarm| alarm <= due);
        if sooner { Ok(()) } else { self.0.set_alarm(time).await.map_err(failed) }
    }

    /// Forgets the sandbox at once; [`Self::wipe`] then frees the storage.
    pub(super) fn remove(&self) -> Result<(), Error> {
        self.execute("DELETE FROM sandbox", vec![])?;
        self.execute("DELETE FROM port", vec![])
    }

    /// Stores how a port is exposed.
    pub(super) fn save_port(&self, port: u16, exposure: &impl Serialize) -> Result<(), Error> {
        let values = vec![integer(port.into()), encode(exposure)?.into()];
        self.execute("INSERT OR REPLACE INTO port VALUES (?, ?)", values)
    }

    /// Forgets how a port is exposed.
    pub(super) fn remove_port(&self, port: u16) -> Result<(), Error> {
        self.execute("DELETE FROM port WHERE port = ?", vec![integer(port.into())])
    }

    /// How a port is exposed.
    pub(super) fn port<T: DeserializeOwned>(&self, port: u16) -> Result<Option<T>, Error> {
        let rows = self.query_with::<Exposed>("SELECT exposure FROM port WHERE port = ?", vec![integer(port.into())])?;
        rows.first().map(|row| decode(&row.exposure)).transpose()
    }

    /// How all ports are exposed, by their number.
    pub(super) fn ports<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        let rows = self.query::<Exposed>("SELECT exposure FROM port ORDER BY port")?;
        rows.iter().map(|row| decode(&row.exposure)).collect()
    }

    /// Frees the storage, tables and all.
    pub(super) async fn wipe(&self) -> Result<(), Error> {
        self.0.delete_all().await.map_err(failed)
    }

    fn execute(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<(), Error> {
        self.0.sql().exec(query, values).map(drop).map_err(failed)
    }

    fn query<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>, Error> {
        self.query_with(query, vec![])
    }

    fn query_with<T: DeserializeOwned>(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<Vec<T>, Error> {
        self.0.sql().exec(query, values).and_then(|cursor| cursor.to_array()).map_err(failed)
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
            labels: decode(&row.labels)?,
            project: row.project,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

pub(super) fn encode(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::internal("a field of the sandbox cannot be encoded"))
}

fn integer(number: u64) -> SqlStorageValue {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    // The message of serde would quote the value, which may be a secret.
    serde_json::from_str(text).map_err(|_| Error::internal("a stored field cannot be decoded"))
}

fn failed(error: worker::Error) -> Error {
    Error::internal(format!("the sandbox's storage failed: {error}"))
}
