//! Opening a secret for the request that it is added to: what the isolate remembers first, then the database.

use std::{cell::RefCell, fmt, rc::Rc};

use cabana_protocol::{
    Error, Tenant,
    network::{NetworkSecret, SecretReference},
    secret::SecretName,
};
use worker::Env;

use super::{Row, SharedSecrets, Vault};
use crate::{Database, cache::Cache, clock::now, log, variables::variable};

/// How many secrets an isolate remembers.
const REMEMBERED: usize = 256;

/// For how long a secret is used without a look at the database.
const FRESH_MS: u64 = 30_000;

/// For how long it is used where the database does not answer. After that it may have been deleted long ago.
const STALE_MS: u64 = 60_000;

/// For how long a secret that does not exist is not looked for.
const ABSENT_MS: u64 = 2_000;

/// The value of a secret. It has neither `Debug` nor `Display`.
#[derive(Clone)]
pub(crate) struct SecretValue(Rc<str>);

/// Why a secret is not added to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The tenant has no such secret.
    Absent,
    /// The secret may not be sent to this host.
    OtherHost,
    /// The Worker cannot open it at the moment, or has no key for it.
    Unavailable,
}

/// What is remembered of a secret: its value, and where it may be sent.
#[derive(Clone)]
struct Known {
    value: SecretValue,
    hosts: Option<Rc<[String]>>,
}

type Key = (Tenant, SecretName);

thread_local! {
    /// Shared by all requests of the isolate.
    static KNOWN: RefCell<Cache<Key, Option<Sealed>>> = const { RefCell::new(Cache::new(REMEMBERED)) };
}

/// A secret as the database has it. Values are opened for each use, so that none lies in memory for longer.
#[derive(Clone)]
struct Sealed {
    sealed: Rc<str>,
    hosts: Option<Rc<[String]>>,
}

impl SecretValue {
    /// The value itself, for the header that it is put into.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Absent => "does not exist",
            Self::OtherHost => "may not be sent to this host",
            Self::Unavailable => "cannot be read at the moment",
        })
    }
}

/// The value of a secret that is to be sent to a host.
pub(crate) async fn find(env: &Env, tenant: &Tenant, wanted: &NetworkSecret) -> Result<SecretValue, Refusal> {
    let known = match wanted.secret.of_worker() {
        Some(name) => shared(env, tenant, name)?,
        None => own(env, tenant, &wanted.secret).await?,
    };
    match known.hosts {
        Some(hosts) if !hosts.contains(&wanted.host) => Err(Refusal::OtherHost),
        _ => Ok(known.value),
    }
}

fn shared(env: &Env, tenant: &Tenant, name: &str) -> Result<Known, Refusal> {
    let shared = SharedSecrets::read(env).map_err(unavailable)?;
    let secret = shared.get(name, tenant).ok_or(Refusal::Absent)?;
    let value = variable(env, &secret.variable).filter(|value| !value.is_empty()).ok_or(Refusal::Absent)?;
    Ok(Known { value: SecretValue(value.into()), hosts: Some(secret.hosts.clone().into()) })
}

async fn own(env: &Env, tenant: &Tenant, secret: &SecretReference) -> Result<Known, Refusal> {
    let name: SecretName = secret.as_str().parse().map_err(|_| Refusal::Absent)?;
    let sealed = sealed(env, tenant, &name).await?.ok_or(Refusal::Absent)?;
    let value = Vault::read(env).map_err(unavailable)?.open(tenant, &name, &sealed.sealed);
    let value = value.ok_or_else(|| unavailable(Error::internal(format!("the secret {name} of {tenant} does not open"))))?;
    Ok(Known { value: SecretValue(value.into()), hosts: sealed.hosts })
}

async fn sealed(env: &Env, tenant: &Tenant, name: &SecretName) -> Result<Option<Sealed>, Refusal> {
    let key = (tenant.clone(), name.clone());
    let asked_at = now().0;
    let remembered = KNOWN.with_borrow(|known| known.get(&key, asked_at).map(|(sealed, age)| (sealed.clone(), age)));
    let fresh = |sealed: &Option<Sealed>| if sealed.is_some() { FRESH_MS } else { ABSENT_MS };
    if let Some((sealed, age)) = &remembered
        && *age < fresh(sealed)
    {
        return Ok(sealed.clone());
    }
    let database = Database::get(env).map_err(unavailable)?;
    match super::find(&database, tenant, name).await {
        Ok(row) => {
            let sealed = row.as_ref().and_then(Sealed::from_row);
            KNOWN.with_borrow_mut(|known| known.put(key, sealed.clone(), asked_at));
            Ok(sealed)
        }
        Err(error) => match remembered {
            Some((Some(sealed), age)) if age < STALE_MS => Ok(Some(sealed)),
            _ => Err(unavailable(error)),
        },
    }
}

impl Sealed {
    fn from_row(row: &Row) -> Option<Self> {
        let hosts = row.hosts().ok()?;
        Some(Self { sealed: row.sealed.as_str().into(), hosts: hosts.map(Into::into) })
    }
}

/// Has this isolate use a value that was stored just now.
pub(super) fn learn(tenant: &Tenant, row: &Row) {
    let key = (tenant.clone(), row.name.clone());
    KNOWN.with_borrow_mut(|known| known.put(key, Sealed::from_row(row), now().0));
}

/// Has this isolate use a secret no more.
pub(super) fn forget(tenant: &Tenant, name: &SecretName) {
    KNOWN.with_borrow_mut(|known| known.put((tenant.clone(), name.clone()), None, now().0));
}

fn unavailable(error: Error) -> Refusal {
    log::error(None, &format!("a secret cannot be added to a request: {}", error.message));
    Refusal::Unavailable
}
