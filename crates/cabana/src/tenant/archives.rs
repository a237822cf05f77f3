//! What the tenant's object does about archives: its SQLite has the catalog, and its alarm sweeps.

use std::collections::BTreeSet;

use cabana_protocol::{
    Code, Error,
    chunk::ChunkName,
    sandbox::{Archive, ArchiveId},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use worker::{Env, Method, State};

use crate::{
    archives::{
        bucket::{Keys, R2},
        catalog::{Catalog, Rows},
        rows::Sql,
        sweep::sweep,
        writer,
    },
    clock::now,
    handle, log, wire,
};

/// Where the object of a tenant answers about archives.
pub(crate) const PATH: &str = "/archives";

/// The Durable Object binding of [`Tenant`](super::Tenant).
const BINDING: &str = "TENANT";

/// Largest body of a call, in bytes: the names of all chunks of an archive.
pub(super) const MAX_BODY_BYTES: usize = 16 << 20;

/// What the object is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Call {
    Begin { id: ArchiveId },
    Renew { id: ArchiveId },
    Commit { archive: Archive, chunks: BTreeSet<ChunkName> },
    Abort { id: ArchiveId },
    Find { id: ArchiveId },
    List,
    Delete { id: ArchiveId },
}

/// Answers a call, and sees to it that a sweep follows where one is due.
pub(super) async fn answer(state: &State, call: Call) -> Result<Value, Error> {
    let catalog = Catalog(Sql::new(state.storage())?);
    let answer = match call {
        Call::Begin { id } => encode(&catalog.begin(&id, now())?),
        Call::Renew { id } => encode(&catalog.renew(&id, now())?),
        Call::Commit { archive, chunks } => encode(&catalog.commit(&archive, &chunks, now())?),
        Call::Abort { id } => encode(&catalog.abort(&id, now())?),
        Call::Find { id } => encode(&catalog.find(&id)?),
        Call::List => encode(&catalog.0.archives()?),
        Call::Delete { id } => encode(&catalog.delete(&id, now())?),
    }?;
    arm(state, &catalog).await?;
    Ok(answer)
}

/// The alarm has gone off: sweeps, and sets it again where there is more to do.
pub(super) async fn on_alarm(state: &State, env: &Env) -> Result<(), Error> {
    let catalog = Catalog(Sql::new(state.storage())?);
    if catalog.sweep_at()?.is_some_and(|at| at <= now()) {
        let tenant = state.id().name().unwrap_or_default().parse()?;
        match R2::of(env) {
            Ok(store) => drop(sweep(&catalog, &store, &Keys::new(&tenant), now).await?),
            Err(error) => log::error(None, &error.message),
        }
    }
    arm(state, &catalog).await
}

async fn arm(state: &State, catalog: &Catalog<Sql>) -> Result<(), Error> {
    let failed = |error: worker::Error| Error::internal(format!("the alarm of the tenant cannot be set: {error}"));
    let Some(at) = catalog.sweep_at()? else { return Ok(()) };
    // A little later than the end of a lease.
    let after = i64::try_from(at.since(now()).as_millis()).unwrap_or(i64::MAX).saturating_add(1_000);
    state.storage().set_alarm(after).await.map_err(failed)
}

fn encode(value: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|_| Error::internal("an answer of the tenant cannot be encoded"))
}

/// A tenant's archives, as the objects of its sandboxes reach them.
#[derive(Clone)]
pub(crate) struct TenantArchives {
    env: Env,
    tenant: cabana_protocol::Tenant,
}

impl TenantArchives {
    pub(crate) fn new(env: &Env, tenant: &cabana_protocol::Tenant) -> Self {
        Self { env: env.clone(), tenant: tenant.clone() }
    }

    /// Asks the tenant's object.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Error> {
        let missing = |error| Error::new(Code::NotImplemented, format!("no Durable Object is bound as {BINDING}: {error}"));
        let stub = self.env.durable_object(BINDING).map_err(missing)?.get_by_name(self.tenant.as_str()).map_err(missing)?;
        let answer = stub.fetch_with_request(wire::request(Method::Post, PATH, Some(call))?).await;
        let answer = answer.map_err(|error| Error::internal(format!("the tenant's object did not answer: {error}")))?;
        handle::decode(answer).await
    }
}

impl writer::Catalog for TenantArchives {
    async fn renew(&self, id: &ArchiveId) -> Result<(), Error> {
        self.call(&Call::Renew { id: id.clone() }).await
    }

    async fn commit(&self, archive: &Archive, chunks: &BTreeSet<ChunkName>) -> Result<(), Error> {
        self.call(&Call::Commit { archive: archive.clone(), chunks: chunks.clone() }).await
    }
}
