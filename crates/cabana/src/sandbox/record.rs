//! What a sandbox remembers, in its Durable Object's SQLite storage.

use std::collections::BTreeMap;

use cabana_protocol::{
    Error, SandboxId, Tenant,
    sandbox::{Instance, Labels, LifeEvent, Setup, Wakeups},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use worker::{SqlStorageValue, Storage};

use super::now;
use crate::{
    directory::Entry,
    lifecycle::{Instant, Lifecycle, Policy},
};

/// Each entry brings the schema from the version that is its index to the next. Only ever append.
const MIGRATIONS: [&str; 6] = [
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
];

/// How many events of a sandbox's life are kept.
const MAX_HISTORY: u64 = 256;

/// One sandbox. It has no `Debug`: its variables and its secret belong into no log.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) id: SandboxId,
    pub(super) kind: String,
    /// How large it is; `None`: as the platform likes.
    pub(super) instance: Option<Instance>,
    /// Whose it is.
    pub(super) tenant: Tenant,
    /// Variables for every command, null for one of the image's that it is not to see; may hold secrets.
    pub(super) env: BTreeMap<String, Option<String>>,
    pub(super) labels: Labels,
    /// The project that it was made for.
    pub(super) project: Option<String>,
    /// How far it is on its way to be what the project wants.
    pub(super) setup: Option<Setup>,
    pub(super) lifecycle: Lifecycle,
    /// What the agent of the present container asks for. Stored, so that an object that was evicted can still talk to it.
    pub(super) secret: String,
    /// How many containers were started; tells the present one from those before.
    pub(super) incarnation: u64,
    /// When anything that callers see of it was last changed.
    pub(super) updated_at: Instant,
    /// Grows with each change, see [`Entry::version`](crate::directory::Entry::version).
    pub(super) version: u64,
    pub(super) wakeups: Wakeups,
}

/// The storage of one Durable Object. An object that holds no sandbox has no tables either: looking leaves no trace.
pub(super) struct Records(Storage);

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
struct Happened {
    id: u64,
    event: String,
}

impl Records {
    pub(super) fn new(storage: Storage) -> Self {
        Self(storage)
    }

    /// Whether there are any tables.
    pub(super) fn exist(&self) -> Result<bool, Error> {
        let tables = "SELECT count(*) AS count FROM sqlite_master WHERE type = 'table' AND name = 'schema'";
        Ok(self.query::<Count>(tables, vec![])?.iter().any(|row| row.count > 0))
    }

    /// The stored sandbox, its schema brought up to date.
    pub(super) fn load(&self) -> Result<Option<Record>, Error> {
        if !self.exist()? {
            return Ok(None);
        }
        self.migrate()?;
        self.query::<Row>("SELECT * FROM sandbox", vec![])?.pop().map(Record::try_from).transpose()
    }

    /// Stores the sandbox in place of what was there.
    pub(super) fn save(&self, record: &Record) -> Result<(), Error> {
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
        ];
        let insert = "INSERT OR REPLACE INTO sandbox
            (singleton, id, tenant, env, labels, project, life, secret, incarnation, updated_at, version, loads, alarms, kind, instance, setup)
            VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        self.execute(insert, values)
    }

    /// Makes the tables, ahead of the first save.
    pub(super) fn migrate(&self) -> Result<(), Error> {
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

    /// Stores what the directory is still to be told, in place of what it was to be told before.
    pub(super) fn owe(&self, entry: &Entry) -> Result<(), Error> {
        self.execute("INSERT OR REPLACE INTO owed VALUES (1, ?, ?)", vec![integer(entry.version), encode(entry)?.into()])
    }

    /// What the directory is still to be told.
    pub(super) fn owed(&self) -> Result<Option<Entry>, Error> {
        self.query::<Owed>("SELECT entry FROM owed", vec![])?.pop().map(|row| decode(&row.entry)).transpose()
    }

    /// Notes that the directory knows of this version.
    pub(super) fn settle(&self, version: u64) -> Result<(), Error> {
        self.execute("DELETE FROM owed WHERE version = ?", vec![integer(version)])
    }

    /// Appends to the sandbox's history, and forgets what is too old.
    pub(super) fn append(&self, event: &LifeEvent) -> Result<(), Error> {
        self.execute("INSERT INTO history (event) VALUES (?)", vec![encode(event)?.into()])?;
        let old = "DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?";
        self.execute(old, vec![integer(MAX_HISTORY)])
    }

    /// What happened after the event of this number, as far as it is kept.
    pub(super) fn history(&self, after: u64) -> Result<Vec<LifeEvent>, Error> {
        let rows = self.query::<Happened>("SELECT id, event FROM history WHERE id > ? ORDER BY id", vec![integer(after)])?;
        rows.into_iter().map(|row| Ok(LifeEvent { id: row.id, ..decode(&row.event)? })).collect()
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
        let rows = self.query::<Exposed>("SELECT exposure FROM port WHERE port = ?", vec![integer(port.into())])?;
        rows.first().map(|row| decode(&row.exposure)).transpose()
    }

    /// How all ports are exposed, by their number.
    pub(super) fn ports<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        let rows = self.query::<Exposed>("SELECT exposure FROM port ORDER BY port", vec![])?;
        rows.iter().map(|row| decode(&row.exposure)).collect()
    }

    /// Frees the storage, tables and all; the alarm goes with it.
    pub(super) async fn wipe(&self) -> Result<(), Error> {
        self.0.delete_all().await.map_err(failed)
    }

    /// Frees the storage but for the audit.
    pub(super) fn drop_tables(&self) -> Result<(), Error> {
        // Names with an underscore at the beginning are the platform's.
        let own = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'audit%'
            AND name NOT LIKE 'sqlite%' AND substr(name, 1, 1) <> '_'";
        let tables = self.query::<Table>(own, vec![])?;
        tables.iter().try_for_each(|table| self.execute(&format!("DROP TABLE {}", table.name), vec![]))
    }

    /// When the alarm will go off, in milliseconds since 1970.
    pub(super) async fn alarm(&self) -> Result<Option<u64>, Error> {
        let alarm = self.0.get_alarm().await.map_err(failed)?;
        Ok(alarm.and_then(|at| u64::try_from(at).ok()))
    }

    /// Sets the alarm, or takes it back.
    pub(super) async fn set_alarm(&self, at: Option<u64>) -> Result<(), Error> {
        let set = match at {
            Some(at) => self.0.set_alarm(i64::try_from(at.saturating_sub(now().0)).unwrap_or(i64::MAX)).await,
            None => self.0.delete_alarm().await,
        };
        set.map_err(failed)
    }

    fn execute(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<(), Error> {
        self.0.sql().exec(query, values).map(drop).map_err(failed)
    }

    fn query<T: DeserializeOwned>(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<Vec<T>, Error> {
        self.0.sql().exec(query, values).and_then(|cursor| cursor.to_array()).map_err(failed)
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
