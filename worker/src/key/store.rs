//! Keys in the database.

use std::cell::Cell;

use cabana::{
    Database, KeyId, Tenant,
    database::{Statement, Value},
};
use cabana_protocol::{Error, decode_own, key::Key};
use serde::Deserialize;

use super::{Record, SecretDigest};
use crate::time;

#[derive(Deserialize)]
struct Row {
    id: KeyId,
    tenant: Tenant,
    name: String,
    digest: String,
    scopes: String,
    created_by: String,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used_at: Option<String>,
    parent: Option<KeyId>,
}

/// The key of this id.
pub async fn find(database: &Database, id: &KeyId) -> Result<Option<Record>, Error> {
    let statement = Statement::new("SELECT * FROM keys WHERE id = ?", [id.as_str().into()]);
    database.query::<Row>(&statement).await?.pop().map(Record::try_from).transpose()
}

/// Which keys to list.
#[derive(Debug)]
pub struct Filter<'a> {
    /// Of this tenant; `None`: of all.
    pub tenant: Option<&'a Tenant>,
    /// Those that were revoked, too.
    pub revoked: bool,
    /// Older ones than this.
    pub after: Option<&'a KeyId>,
    /// No more than so many.
    pub limit: u32,
}

/// Keys, the newest first.
pub async fn list(database: &Database, filter: &Filter<'_>) -> Result<Vec<Record>, Error> {
    let mut clauses = vec!["TRUE"];
    let mut values: Vec<Value> = Vec::new();
    if !filter.revoked {
        clauses.push("revoked_at IS NULL");
    }
    if let Some(tenant) = filter.tenant {
        clauses.push("tenant = ?");
        values.push(tenant.as_str().into());
    }
    if let Some(after) = filter.after {
        clauses.push("(created_at, id) < (SELECT created_at, id FROM keys WHERE id = ?)");
        values.push(after.as_str().into());
    }
    values.push(u64::from(filter.limit).into());
    let sql = format!("SELECT * FROM keys WHERE {} ORDER BY created_at DESC, id DESC LIMIT ?", clauses.join(" AND "));
    database.query::<Row>(&Statement::new(sql, values)).await?.into_iter().map(Record::try_from).collect()
}

/// Keeps a new key, unless its tenant has `limit` keys that are good; true where it is kept.
pub async fn insert(database: &Database, record: &Record, limit: u32) -> Result<bool, Error> {
    let Record { shown, digest, .. } = record;
    let scopes = serde_json::to_string(&shown.scopes).map_err(|_| Error::internal("scopes cannot be encoded"))?;
    let sql = "INSERT INTO keys (id, tenant, name, digest, scopes, created_by, created_at, expires_at, parent)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?10
        WHERE (SELECT count(*) FROM keys WHERE tenant = ?2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?7)) < ?9";
    let values: [Value; 10] = [
        shown.id.as_str().into(),
        shown.tenant.as_str().into(),
        shown.name.as_str().into(),
        digest.encode().into(),
        scopes.into(),
        shown.created_by.as_str().into(),
        shown.created_at.as_str().into(),
        shown.expires_at.as_deref().into(),
        u64::from(limit).into(),
        record.parent.as_ref().map(KeyId::as_str).into(),
    ];
    Ok(database.execute(&[Statement::new(sql, values)]).await? != [0])
}

/// Gives it another name.
pub async fn rename(database: &Database, id: &KeyId, name: &str) -> Result<(), Error> {
    change(database, "UPDATE keys SET name = ? WHERE id = ?", name, id).await
}

/// Revokes it, with the keys that it made and those that they made; returns the ones that were good until now. The first time stays.
pub async fn revoke(database: &Database, id: &KeyId, now_ms: u64) -> Result<Vec<Record>, Error> {
    let sql = "WITH RECURSIVE family (id) AS (SELECT ?2 UNION SELECT keys.id FROM keys JOIN family ON keys.parent = family.id)
        UPDATE keys SET revoked_at = ?1 WHERE id IN (SELECT id FROM family) AND revoked_at IS NULL RETURNING *";
    let statement = Statement::new(sql, [time::format(now_ms).into(), id.as_str().into()]);
    database.query::<Row>(&statement).await?.into_iter().map(Record::try_from).collect()
}

/// Notes that it is used.
pub async fn touch(database: &Database, id: &KeyId, now_ms: u64) -> Result<(), Error> {
    change(database, "UPDATE keys SET last_used_at = ? WHERE id = ?", &time::format(now_ms), id).await
}

async fn change(database: &Database, sql: &str, value: &str, id: &KeyId) -> Result<(), Error> {
    database.execute(&[Statement::new(sql, [value.into(), id.as_str().into()])]).await.map(drop)
}

impl TryFrom<Row> for Record {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let instant = |text: &Option<String>| text.as_deref().map(|text| time::parse("an instant", text)).transpose();
        let odd = || Error::internal("a stored key cannot be decoded");
        Ok(Self {
            digest: SecretDigest::decode(&row.digest).ok_or_else(odd)?,
            expires_at_ms: instant(&row.expires_at).map_err(|_| odd())?,
            last_used_at_ms: Cell::new(instant(&row.last_used_at).map_err(|_| odd())?),
            parent: row.parent,
            shown: Key {
                id: row.id,
                name: row.name,
                tenant: row.tenant,
                scopes: decode_own(row.scopes.as_bytes()).map_err(|_| odd())?,
                created_by: row.created_by,
                created_at: row.created_at,
                expires_at: row.expires_at,
                revoked_at: row.revoked_at,
                last_used_at: row.last_used_at,
            },
        })
    }
}
