//! The directory: where sandboxes are found, in D1, since the names of Durable Objects cannot be listed.
//!
//! Each sandbox's object writes its own row, in the background, and whatever happens to the database happens to nobody's request
//! but one that lists. Rows carry versions, so that it does not matter in which order writes arrive, or how often.
//!
//! One database carries out one query at a time. A deployment that is too large for that binds several ([`Directory::of`]); each tenant's
//! sandboxes are in one of them.

mod entry;
mod query;

use std::rc::Rc;

use cabana_protocol::{
    Code, Error, SandboxId, Tenant,
    sandbox::{Sandbox, Sandboxes, State},
};
use futures_util::future::try_join_all;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use worker::Env;

pub(crate) use self::entry::Entry;
use crate::{
    Database, Principal,
    address::{Address, Tag},
    audit::Link,
    database::Statement,
};

/// Most databases that share the tenants.
const MAX_SHARDS: usize = 16;

/// The databases that hold the directory. There is at least one.
#[derive(Debug, Clone)]
pub(crate) struct Directory(Rc<[Database]>);

impl Directory {
    /// The databases bound as `DIRECTORY`, `DIRECTORY_2`, and so on without a gap, at most 16; `None` where none is bound.
    pub(crate) fn of(env: &Env) -> Option<Self> {
        let first = Database::of(env)?;
        let others = (2..=MAX_SHARDS).map_while(|number| Database::bound_as(env, &format!("{}_{number}", Database::BINDING)));
        Some(Self(std::iter::once(first).chain(others).collect()))
    }

    /// The same. Fails with `not_implemented` where none is bound.
    pub(crate) fn get(env: &Env) -> Result<Self, Error> {
        let missing = || Error::new(Code::NotImplemented, format!("no D1 database is bound as {}", Database::BINDING));
        Self::of(env).ok_or_else(missing)
    }

    /// The one that holds the sandboxes of the tenant with this tag.
    fn shard(&self, tag: Option<Tag>) -> &Database {
        &self.0[place(tag, self.0.len())]
    }

    /// The sandboxes that `principal` may see, as the query of a URL asks for them.
    ///
    /// Fails with `invalid_request` (a parameter that is not there or cannot be understood), `forbidden` (another tenant's, and the
    /// caller is no operator).
    pub(crate) async fn list(&self, query: Option<&str>, principal: &Principal) -> Result<Sandboxes, Error> {
        let request = query::parse(query.unwrap_or_default())?;
        let statement = query::statement(&request, principal)?;
        let rows = match query::tenant(&request, principal)? {
            Some(tenant) => self.shard(Tag::of_other(tenant)).query(&statement).await?,
            None => try_join_all(self.0.iter().map(|shard| shard.query(&statement))).await?.into_iter().flatten().collect(),
        };
        query::page(&request, rows)
    }

    /// The ids of a tenant's sandboxes that come after this one, in their order: at most `limit`.
    ///
    /// Fails with `timeout` and `unavailable`.
    pub(crate) async fn ids(&self, tenant: &Tenant, after: Option<&SandboxId>, limit: u32) -> Result<Vec<SandboxId>, Error> {
        #[derive(Deserialize)]
        struct Found {
            id: SandboxId,
        }
        let sql = "SELECT id FROM sandboxes WHERE tenant = ? AND state <> ? AND id > ? ORDER BY id LIMIT ?";
        let after = after.map_or("", SandboxId::as_str);
        let values = [tenant.as_str().into(), State::Destroyed.as_str().into(), after.into(), u64::from(limit).into()];
        let found = self.shard(Tag::of_other(tenant)).query::<Found>(&Statement::new(sql, values)).await?;
        Ok(found.into_iter().map(|found| found.id).collect())
    }

    /// Writes what became of a sandbox, and how far its audit has come. What is there and newer stays.
    pub(crate) async fn note(&self, entry: &Entry, head: &Link) -> Result<(), Error> {
        let Sandbox { id, tenant, .. } = &entry.sandbox;
        let mut statements = entry.statements()?;
        statements.extend(audit_head(&Address::new(id.clone(), tenant), head));
        self.shard(Tag::of_other(tenant)).execute(&statements).await.map(drop)
    }

    /// Writes how far the audit of a sandbox has come.
    pub(crate) async fn note_audit(&self, sandbox: &Address, head: &Link) -> Result<(), Error> {
        self.shard(sandbox.tag()).execute(&audit_head(sandbox, head)).await.map(drop)
    }

    /// How far the audit of a sandbox had come when that was last written.
    pub(crate) async fn noted_audit(&self, sandbox: &Address) -> Result<Option<Link>, Error> {
        let sql = "SELECT id, hash FROM audit_heads WHERE sandbox = ?";
        Ok(self.shard(sandbox.tag()).query(&Statement::new(sql, [sandbox.to_string().into()])).await?.pop())
    }

    /// The audit of a sandbox is forgotten, as it is too old.
    pub(crate) async fn forget_audit(&self, sandbox: &Address) -> Result<(), Error> {
        let sql = "DELETE FROM audit_heads WHERE sandbox = ?";
        self.shard(sandbox.tag()).execute(&[Statement::new(sql, [sandbox.to_string().into()])]).await.map(drop)
    }
}

/// Which of so many databases holds the sandboxes of the tenant with this tag.
fn place(tag: Option<Tag>, count: usize) -> usize {
    let weight = |number: &usize| Sha256::digest(format!("{} {number}", tag.as_ref().map_or("", Tag::as_str)));
    // The one with the greatest weight: each tenant has its own order of them, so that none has more than its share.
    (0..count).max_by_key(weight).unwrap_or_default()
}

fn audit_head(sandbox: &Address, head: &Link) -> Vec<Statement> {
    const UPSERT: &str = "INSERT INTO audit_heads (sandbox, id, hash) VALUES (?, ?, ?) \
        ON CONFLICT (sandbox) DO UPDATE SET id = excluded.id, hash = excluded.hash WHERE excluded.id > audit_heads.id";
    let name = sandbox.to_string();
    let known = (head.id > 0).then(|| Statement::new(UPSERT, [name.into(), head.id.into(), head.hash.as_str().into()]));
    known.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_share_the_tenants_evenly() {
        for count in [1, 2, 3, MAX_SHARDS] {
            let mut tenants = vec![0; count];
            for number in 0..1_600 {
                let tag = Tag::of_other(&format!("tenant-{number}").parse().unwrap());
                assert_eq!(place(tag, count), place(tag, count));
                tenants[place(tag, count)] += 1;
            }
            let share = 1_600 / count;
            assert!(tenants.iter().all(|held| (share / 2..=share * 2).contains(held)), "{count}: {tenants:?}");
            assert_eq!(Tag::of_other(&Tenant::default()), None);
        }
    }
}
