//! The directory: where sandboxes are found, in D1, since the names of Durable Objects cannot be listed.
//!
//! Each sandbox's object writes its own row, in the background, and whatever happens to the database happens to nobody's request
//! but one that lists. Rows carry versions, so that it does not matter in which order writes arrive, or how often.

mod entry;
mod query;

use cabana_protocol::{
    Error, SandboxId, Tenant,
    sandbox::{Sandboxes, State},
};
use serde::Deserialize;

pub(crate) use self::entry::Entry;
use self::query::Row;
use crate::{Database, Principal, database::Statement};

/// The sandboxes that `principal` may see, as the query of a URL asks for them.
///
/// Fails with `invalid_request` (a parameter that is not there or cannot be understood), `forbidden` (another tenant's, and the
/// caller is no operator).
pub(crate) async fn list(database: &Database, query: Option<&str>, principal: &Principal) -> Result<Sandboxes, Error> {
    let request = query::parse(query.unwrap_or_default())?;
    let rows = database.query::<Row>(&query::statement(&request, principal)?).await?;
    query::page(&request, rows)
}

/// The ids of a tenant's sandboxes that come after this one, in their order: at most `limit`.
///
/// Fails with `timeout` and `unavailable`.
pub(crate) async fn ids(
    database: &Database,
    tenant: &Tenant,
    after: Option<&SandboxId>,
    limit: u32,
) -> Result<Vec<SandboxId>, Error> {
    #[derive(Deserialize)]
    struct Row {
        id: SandboxId,
    }
    let sql = "SELECT id FROM sandboxes WHERE tenant = ? AND state <> ? AND id > ? ORDER BY id LIMIT ?";
    let after = after.map_or("", SandboxId::as_str);
    let values = [tenant.as_str().into(), State::Destroyed.as_str().into(), after.into(), u64::from(limit).into()];
    let rows = database.query::<Row>(&Statement::new(sql, values)).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Writes what became of a sandbox. What is there and newer stays.
pub(crate) async fn note(database: &Database, entry: &Entry) -> Result<(), Error> {
    database.execute(&entry.statements()?).await.map(drop)
}
