//! Revoked API keys: what they have opened is closed.
//!
//! The gateway remembers keys and the objects of sandboxes hold sockets, so that neither learns of a revocation by itself. Whoever revokes a key
//! tells the objects of its tenant's sandboxes ([`disconnect`]). An object that nobody has told (a socket was opened by a gateway that did not
//! know yet, or the object did not answer) asks by itself: about each socket when it is opened, and later while it is used.

use std::{pin::pin, time::Duration};

use cabana_protocol::{Error, KeyId, Tenant};
use futures_util::{
    StreamExt,
    future::{self, Either},
    stream,
};
use serde::de::IgnoredAny;
use worker::{Delay, Env};

use crate::{Address, Database, Sandbox, database::Statement, directory::Directory, log};

/// Sandboxes that are told at once.
const AT_ONCE: usize = 16;

/// Sandboxes that are looked up at once.
const PAGE: u32 = 500;

/// How often a sandbox is told that does not answer, and how long after one another.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

/// How long telling may take in all: the platform ends what a Worker does 30 s after its answer.
const LIMIT: Duration = Duration::from_secs(25);

/// Closes the sockets that were opened with an API key of this tenant, or with what was made with it, on all the tenant's sandboxes; what
/// ran for them ends. To be called once the key's revocation is stored. Nobody needs to wait for it.
///
/// Ends after 25 s. A tenant with many thousands of sandboxes may then have sandboxes that were not told, of which the log has a line: they find out
/// by themselves, with the next frame on such a socket.
///
/// `binding` is that of the kinds without a class of their own. A sandbox that cannot be told is named in the log.
///
/// Fails with `timeout` and `unavailable` (the database).
pub async fn disconnect(env: &Env, binding: &str, tenant: &Tenant, key: &KeyId) -> Result<(), Error> {
    let directory = Directory::get(env)?;
    match future::select(pin!(tell_all(env, &directory, binding, tenant, key)), pin!(Delay::from(LIMIT))).await {
        Either::Left((told, _)) => told,
        Either::Right(_) => {
            log::warn(None, &format!("not all sandboxes of {tenant} were told within 25 s that the key {key} was revoked"));
            Ok(())
        }
    }
}

async fn tell_all(env: &Env, directory: &Directory, binding: &str, tenant: &Tenant, key: &KeyId) -> Result<(), Error> {
    let mut last = None;
    loop {
        let page = directory.ids(tenant, last.as_ref(), PAGE).await?;
        stream::iter(&page).for_each_concurrent(AT_ONCE, |id| tell(env, binding, Address::new(id.clone(), tenant), key)).await;
        last = page.into_iter().next_back();
        if last.is_none() {
            return Ok(());
        }
    }
}

async fn tell(env: &Env, binding: &str, address: Address, key: &KeyId) {
    for attempt in 1..=ATTEMPTS {
        let told = async { Sandbox::at(env, binding, address.clone())?.disconnect(key).await };
        match told.await {
            Ok(()) => return,
            Err(_) if attempt < ATTEMPTS => Delay::from(PAUSE).await,
            Err(error) => log::error(None, &format!("{address} may have sockets of a revoked key: {}", error.message)),
        }
    }
}

/// Whether a key is good no more.
pub(crate) async fn is_revoked(database: &Database, key: &KeyId) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM keys WHERE id = ? AND revoked_at IS NULL";
    let found: Vec<IgnoredAny> = database.query(&Statement::new(sql, [key.as_str().into()])).await?;
    Ok(found.is_empty())
}
