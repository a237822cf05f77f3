//! The storage of one Durable Object: SQLite. The audit has tables of its own.

use std::cell::Cell;

use cabana_protocol::{
    Error, decode_own,
    sandbox::{LifeEvent, SnapshotId, Wakeups},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use worker::{SqlStorageValue, Storage};

use super::{
    platform::Rows,
    record::{Record, encode},
};
use crate::{
    clock::now,
    directory::Entry,
    lifecycle::{Instant, Lifecycle, Policy},
    rows,
};

/// Each entry brings the schema from the version that is its index to the next. Only ever append.
const MIGRATIONS: [&str; 12] = [
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
    "ALTER TABLE sandbox DROP COLUMN created_at;
ALTER TABLE sandbox DROP COLUMN state;
ALTER TABLE sandbox DROP COLUMN failure;
ALTER TABLE sandbox ADD COLUMN life TEXT NOT NULL DEFAULT '';
ALTER TABLE sandbox ADD COLUMN loads INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandbox ADD COLUMN alarms INTEGER NOT NULL DEFAULT 0;
CREATE TABLE history (id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL)",
    "ALTER TABLE sandbox ADD COLUMN kind TEXT NOT NULL DEFAULT '';
UPDATE sandbox SET kind = substr(id, 1, instr(id, '-') - 1);
ALTER TABLE sandbox ADD COLUMN instance TEXT NOT NULL DEFAULT 'null';
ALTER TABLE sandbox ADD COLUMN setup TEXT NOT NULL DEFAULT 'null'",
    RESET_TABLE,
    "ALTER TABLE sandbox ADD COLUMN network TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE sandbox ADD COLUMN project_env TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE sandbox ADD COLUMN roots TEXT NOT NULL DEFAULT 'null'",
    "ALTER TABLE sandbox ADD COLUMN before_sleep TEXT NOT NULL DEFAULT 'null';
ALTER TABLE sandbox ADD COLUMN snapshot TEXT NOT NULL DEFAULT 'null';
CREATE TABLE snapshot (id TEXT PRIMARY KEY, created INTEGER NOT NULL, snapshot TEXT NOT NULL)",
    "CREATE TABLE network (singleton INTEGER PRIMARY KEY CHECK (singleton = 1), history TEXT NOT NULL)",
];

/// When the object was last reset by its own wish. It is needed where there is no sandbox, too.
const RESET_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS reset (singleton INTEGER PRIMARY KEY CHECK (singleton = 1), at INTEGER NOT NULL)";

/// How many events of a sandbox's life are kept.
const MAX_HISTORY: u64 = 256;

/// The storage of one Durable Object. An object that holds no sandbox has no tables either: looking leaves no trace.
pub(super) struct Sql {
    storage: Storage,
    /// Whether the tables are known to be there, in their newest form.
    migrated: Cell<bool>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    kind: String,
    instance: String,
    tenant: String,
    env: String,
    life: String,
    secret: String,
    incarnation: u64,
    labels: String,
    project: Option<String>,
    setup: String,
    network: String,
    project_env: String,
    roots: String,
    before_sleep: String,
    snapshot: String,
    updated_at: String,
    version: u64,
    loads: u64,
    alarms: u64,
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
struct Listed {
    snapshot: String,
}

#[derive(Deserialize)]
struct Counted {
    history: String,
}

#[derive(Deserialize)]
struct Table {
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: usize,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

#[derive(Deserialize)]
struct Reset {
    at: u64,
}

#[derive(Deserialize)]
struct Happened {
    id: u64,
    event: String,
}

impl Sql {
    pub(super) fn new(storage: Storage) -> Self {
        Self { storage, migrated: Cell::default() }
    }

    /// Whether there are any tables.
    pub(super) fn exist(&self) -> Result<bool, Error> {
        let tables = "SELECT count(*) AS count FROM sqlite_master WHERE type = 'table' AND name = 'schema'";
        Ok(self.query::<Count>(tables, vec![])?.iter().any(|row| row.count > 0))
    }

    /// Makes the tables, ahead of the first save.
    fn migrate(&self) -> Result<(), Error> {
        if self.migrated.replace(true) {
            return Ok(());
        }
        self.execute("CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL)", vec![])?;
        let version = self.query::<Version>("SELECT version FROM schema", vec![])?.pop();
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

    /// What the directory is still to be told.
    pub(super) fn next_entry(&self) -> Result<Option<Entry>, Error> {
        self.rows::<Owed>("SELECT entry FROM owed", vec![])?.pop().map(|row| decode(&row.entry)).transpose()
    }

    /// Notes that the directory knows of this version.
    pub(super) fn acknowledge(&self, version: u64) -> Result<(), Error> {
        self.execute("DELETE FROM owed WHERE version = ?", vec![integer(version)])
    }

    /// What happened after the event of this number, as far as it is kept.
    pub(super) fn history(&self, after: u64) -> Result<Vec<LifeEvent>, Error> {
        let rows = self.rows::<Happened>("SELECT id, event FROM history WHERE id > ? ORDER BY id", vec![integer(after)])?;
        rows.into_iter().map(|row| Ok(LifeEvent { id: row.id, ..decode(&row.event)? })).collect()
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
        let rows = self.rows::<Exposed>("SELECT exposure FROM port WHERE port = ?", vec![integer(port.into())])?;
        rows.first().map(|row| decode(&row.exposure)).transpose()
    }

    /// How all ports are exposed, by their number.
    pub(super) fn ports<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        let rows = self.rows::<Exposed>("SELECT exposure FROM port ORDER BY port", vec![])?;
        rows.iter().map(|row| decode(&row.exposure)).collect()
    }

    /// Stores a snapshot of the list.
    pub(super) fn save_snapshot(&self, id: &SnapshotId, created: Instant, snapshot: &impl Serialize) -> Result<(), Error> {
        let values = vec![id.as_str().into(), integer(created.0), encode(snapshot)?.into()];
        self.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?)", values)
    }

    /// Forgets a snapshot.
    pub(super) fn remove_snapshot(&self, id: &SnapshotId) -> Result<(), Error> {
        self.execute("DELETE FROM snapshot WHERE id = ?", vec![id.as_str().into()])
    }

    /// A snapshot of the list.
    pub(super) fn snapshot<T: DeserializeOwned>(&self, id: &SnapshotId) -> Result<Option<T>, Error> {
        let rows = self.rows::<Listed>("SELECT snapshot FROM snapshot WHERE id = ?", vec![id.as_str().into()])?;
        rows.first().map(|row| decode(&row.snapshot)).transpose()
    }

    /// The list of snapshots, the newest first.
    pub(super) fn snapshots<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        let rows = self.rows::<Listed>("SELECT snapshot FROM snapshot ORDER BY created DESC, rowid DESC", vec![])?;
        rows.iter().map(|row| decode(&row.snapshot)).collect()
    }

    /// What the network rules have done.
    pub(super) fn network<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let rows = self.rows::<Counted>("SELECT history FROM network", vec![])?;
        rows.first().map(|row| decode(&row.history)).transpose()
    }

    /// Stores what the network rules have done.
    pub(super) fn save_network(&self, history: &impl Serialize) -> Result<(), Error> {
        self.execute("INSERT OR REPLACE INTO network VALUES (1, ?)", vec![encode(history)?.into()])
    }

    /// Frees the storage, tables and all; the alarm goes with it.
    pub(super) async fn wipe(&self) -> Result<(), Error> {
        self.migrated.set(false);
        self.storage.delete_all().await.map_err(failed)
    }

    /// Frees the storage but for the audit.
    pub(super) fn drop_tables(&self) -> Result<(), Error> {
        self.migrated.set(false);
        // Names with an underscore at the beginning are the platform's.
        let own = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'audit%'
            AND name NOT LIKE 'sqlite%' AND substr(name, 1, 1) <> '_'";
        let tables = self.query::<Table>(own, vec![])?;
        tables.iter().try_for_each(|table| self.execute(&format!("DROP TABLE {}", table.name), vec![]))
    }

    fn put_entry(&self, entry: &Entry) -> Result<(), Error> {
        self.execute("INSERT OR REPLACE INTO owed VALUES (1, ?, ?)", vec![integer(entry.version), encode(entry)?.into()])
    }

    /// Appends to the sandbox's history, and forgets what is too old.
    fn append(&self, event: &LifeEvent) -> Result<(), Error> {
        self.execute("INSERT INTO history (event) VALUES (?)", vec![encode(event)?.into()])?;
        let old = "DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?";
        self.execute(old, vec![integer(MAX_HISTORY)])
    }

    fn execute(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<(), Error> {
        self.storage.sql().exec(query, values).map(drop).map_err(failed)
    }

    /// What a query of these tables finds; nothing where there are none, before the first save and after the sandbox was forgotten.
    fn rows<T: DeserializeOwned>(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<Vec<T>, Error> {
        if self.migrated.get() || self.exist()? { self.query(query, values) } else { Ok(Vec::new()) }
    }

    fn query<T: DeserializeOwned>(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<Vec<T>, Error> {
        rows::query(&self.storage, query, values).map_err(failed)
    }
}

impl Rows for Sql {
    fn load(&self) -> Result<Option<Record>, Error> {
        if !self.exist()? {
            return Ok(None);
        }
        self.migrate()?;
        self.query::<Row>("SELECT * FROM sandbox", vec![])?.pop().map(Record::try_from).transpose()
    }

    // Nothing waits in between, so the runtime commits all of it together.
    fn save(&self, record: &Record, entry: Option<&Entry>, event: Option<&LifeEvent>) -> Result<(), Error> {
        self.migrate()?;
        let values = vec![
            record.id.as_str().into(),
            record.tenant.as_str().into(),
            encode(&record.env)?.into(),
            encode(&record.labels)?.into(),
            record.project.clone().into(),
            encode(&record.lifecycle)?.into(),
            record.secret.as_str().into(),
            integer(record.incarnation),
            encode(&record.updated_at)?.into(),
            integer(record.version),
            integer(record.wakeups.loads),
            integer(record.wakeups.alarms),
            record.kind.as_str().into(),
            encode(&record.instance)?.into(),
            encode(&record.setup)?.into(),
            encode(&record.network)?.into(),
            encode(&record.project_env)?.into(),
            encode(&record.roots)?.into(),
            encode(&record.before_sleep)?.into(),
            encode(&record.snapshot)?.into(),
        ];
        let insert = "INSERT OR REPLACE INTO sandbox
            (singleton, id, tenant, env, labels, project, life, secret, incarnation, updated_at, version, loads, alarms, kind, instance, setup,
             network, project_env, roots, before_sleep, snapshot)
            VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        self.execute(insert, values)?;
        if let Some(entry) = entry {
            self.put_entry(entry)?;
        }
        event.map_or(Ok(()), |event| self.append(event))
    }

    fn remove(&self, entry: Option<&Entry>) -> Result<(), Error> {
        if let Some(entry) = entry {
            self.put_entry(entry)?;
        }
        self.execute("DELETE FROM sandbox", vec![])?;
        self.execute("DELETE FROM snapshot", vec![])?;
        self.execute("DELETE FROM network", vec![])?;
        self.execute("DELETE FROM port", vec![])
    }

    fn reset_at(&self) -> Result<Option<Instant>, Error> {
        let table = "SELECT count(*) AS count FROM sqlite_master WHERE type = 'table' AND name = 'reset'";
        if !self.query::<Count>(table, vec![])?.iter().any(|row| row.count > 0) {
            return Ok(None);
        }
        Ok(self.query::<Reset>("SELECT at FROM reset", vec![])?.pop().map(|row| Instant(row.at)))
    }

    fn note_reset(&self, at: Instant) -> Result<(), Error> {
        self.execute(RESET_TABLE, vec![])?;
        self.execute("INSERT OR REPLACE INTO reset VALUES (1, ?)", vec![integer(at.0)])
    }
}

impl TryFrom<Row> for Record {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.id.parse()?,
            kind: row.kind,
            instance: decode(&row.instance)?,
            tenant: row.tenant.parse()?,
            env: decode(&row.env)?,
            network: decode(&row.network)?,
            project_env: decode(&row.project_env)?,
            roots: decode(&row.roots)?,
            before_sleep: decode(&row.before_sleep)?,
            snapshot: decode(&row.snapshot)?,
            lifecycle: match row.life.as_str() {
                // Stored before there was more than a state; what may run of it is ended at the next start.
                "" => Lifecycle::new(Policy::default(), now()),
                life => decode(life)?,
            },
            secret: row.secret,
            incarnation: row.incarnation,
            labels: decode(&row.labels)?,
            project: row.project,
            setup: decode(&row.setup)?,
            // Before it was a number it was text that nobody computes with.
            updated_at: decode(&row.updated_at).unwrap_or_else(|_| now()),
            version: row.version,
            wakeups: Wakeups { loads: row.loads, alarms: row.alarms },
        })
    }
}

fn integer(number: u64) -> SqlStorageValue {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    // The message of serde would quote the value, which may be a secret.
    decode_own(text.as_bytes()).map_err(|_| Error::internal("a stored field cannot be decoded"))
}

fn failed(error: worker::Error) -> Error {
    Error::internal(format!("the sandbox's storage failed: {error}"))
}
