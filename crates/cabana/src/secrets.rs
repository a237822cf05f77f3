//! Secrets that are added to what sandboxes send, outside the sandboxes: as they are stored, and who may have which.
//!
//! A tenant's are in the directory's database, sealed by `vault`. Others are secrets of the Worker, which the operator shares by
//! `CABANA_NETWORK_SECRETS`. Nothing here shows a value, in an error or otherwise: `lookup` alone opens one, for the request that it is added to.

mod lookup;
mod shared;
mod vault;

use cabana_protocol::{
    Code, Error, Tenant,
    network::{Network, SecretReference},
    secret::{CreateSecret, Secret, SecretName, Secrets},
};
use serde::Deserialize;
use worker::{Env, js_sys};

pub(crate) use self::lookup::{Refusal, SecretValue, find as find_value};
use self::{shared::SharedSecrets, vault::Vault};
use crate::{Database, database::Statement};

/// Most secrets of one tenant.
const MAX_SECRETS: u64 = 1_000;

#[derive(Deserialize)]
struct Row {
    name: SecretName,
    sealed: String,
    hosts: Option<String>,
    created_at: String,
    updated_at: String,
}

impl Row {
    fn show(self) -> Result<Secret, Error> {
        let hosts = self.hosts()?;
        Ok(Secret { name: self.name, hosts, created_at: self.created_at, updated_at: self.updated_at })
    }

    fn hosts(&self) -> Result<Option<Vec<String>>, Error> {
        let odd = |_| Error::internal("a stored secret cannot be decoded");
        self.hosts.as_deref().map(|hosts| serde_json::from_str(hosts).map_err(odd)).transpose()
    }
}

/// Stores a secret, or puts another value in place of the stored one; true where it is new.
///
/// Fails with `invalid_request`, with `not_implemented` where the Worker has no key to seal it with, and with `too_many_requests` where the tenant
/// has too many.
pub async fn put(env: &Env, tenant: &Tenant, request: &CreateSecret) -> Result<(Secret, bool), Error> {
    // Columns that the statement does not set keep their values: when the secret was made, and its hosts where none are named.
    const PUT: &str = "INSERT INTO secrets (tenant, name, sealed, hosts, created_at, updated_at) SELECT ?1, ?2, ?3, ?4, ?5, ?5 \
        WHERE (SELECT count(*) FROM secrets WHERE tenant = ?1 AND name <> ?2) < ?6 \
        ON CONFLICT (tenant, name) DO UPDATE SET sealed = excluded.sealed, hosts = coalesce(excluded.hosts, secrets.hosts), \
        updated_at = excluded.updated_at RETURNING *";
    request.check()?;
    let sealed = Vault::read(env)?.seal(tenant, &request.name, &request.value);
    let hosts = request.hosts.as_ref().map(serde_json::to_string).transpose();
    let hosts = hosts.map_err(|_| Error::internal("the hosts of a secret cannot be encoded"))?;
    let now = String::from(js_sys::Date::new_0().to_iso_string());
    let values =
        [tenant.as_str().into(), request.name.as_str().into(), sealed.into(), hosts.into(), now.into(), MAX_SECRETS.into()];
    let row = Database::get(env)?.query::<Row>(&Statement::new(PUT, values)).await?.pop();
    let too_many = || Error::new(Code::TooManyRequests, format!("the tenant has {MAX_SECRETS} secrets: delete some first"));
    let row = row.ok_or_else(too_many)?;
    let is_new = row.created_at == row.updated_at;
    lookup::learn(tenant, &row);
    Ok((row.show()?, is_new))
}

/// The secret of this name, without its value. Fails with `not_found`.
pub async fn get(database: &Database, tenant: &Tenant, name: &SecretName) -> Result<Secret, Error> {
    let missing = || Error::not_found(format!("there is no secret {name}")).because("no_such_secret");
    find(database, tenant, name).await?.ok_or_else(missing)?.show()
}

async fn find(database: &Database, tenant: &Tenant, name: &SecretName) -> Result<Option<Row>, Error> {
    let select = "SELECT * FROM secrets WHERE tenant = ? AND name = ?";
    let rows = database.query::<Row>(&Statement::new(select, [tenant.as_str().into(), name.as_str().into()])).await?;
    Ok(rows.into_iter().next())
}

/// The secrets whose names come after this one, in their order, without their values.
pub async fn list(database: &Database, tenant: &Tenant, after: &str, limit: u32) -> Result<Secrets, Error> {
    let select = "SELECT * FROM secrets WHERE tenant = ? AND name > ? ORDER BY name LIMIT ?";
    let values = [tenant.as_str().into(), after.into(), u64::from(limit + 1).into()];
    let mut rows = database.query::<Row>(&Statement::new(select, values)).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let cursor = rows.last().filter(|_| more).map(|row| row.name.to_string());
    Ok(Secrets { secrets: rows.into_iter().map(Row::show).collect::<Result<_, _>>()?, cursor })
}

/// Forgets a secret, if there is one. Requests that it would be added to fail from then on.
pub async fn delete(database: &Database, tenant: &Tenant, name: &SecretName) -> Result<(), Error> {
    let delete = "DELETE FROM secrets WHERE tenant = ? AND name = ?";
    database.execute(&[Statement::new(delete, [tenant.as_str().into(), name.as_str().into()])]).await?;
    lookup::forget(tenant, name);
    Ok(())
}

/// Whether the secrets that rules name exist, and may go where the rules send them.
///
/// Fails with `invalid_request`, which names the secret.
pub(crate) async fn check(env: &Env, tenant: &Tenant, network: &Network) -> Result<(), Error> {
    for wanted in &network.secrets {
        let refuse = |why: &str| Err(Error::invalid_request(format!("network.secrets: {:?}: {why}", wanted.secret.as_str())));
        let hosts = match hosts_of(env, tenant, &wanted.secret).await? {
            None => return refuse("there is no such secret"),
            Some(hosts) => hosts,
        };
        if hosts.is_some_and(|hosts| !hosts.contains(&wanted.host)) {
            return refuse(&format!("it may not be sent to {}", wanted.host));
        }
    }
    Ok(())
}

/// The hosts that a secret may be sent to, if it names any; `None` where the tenant has no such secret.
async fn hosts_of(env: &Env, tenant: &Tenant, secret: &SecretReference) -> Result<Option<Option<Vec<String>>>, Error> {
    match secret.of_worker() {
        Some(name) => Ok(SharedSecrets::read(env)?.get(name, tenant).map(|shared| Some(shared.hosts.clone()))),
        None => {
            let row = find(&Database::get(env)?, tenant, &secret.as_str().parse()?).await?;
            row.map(|row| row.hosts()).transpose()
        }
    }
}
