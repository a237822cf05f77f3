//! `/v1/keys`: API keys of a tenant, or of all for the operator.

use cabana::{Code, KeyId, Tenant, log, revocation};
use cabana_protocol::{
    Error,
    key::{CreateKey, KeyPage, NewKey, UpdateKey, no_such_key},
    names::invalid_parameter,
};
use worker::{Env, Response};

use crate::{
    BINDING,
    auth::authority::Authority,
    call::Call,
    key::{Record, creation, generate, lookup, store},
    time,
};

/// Most keys of one tenant that are not revoked.
const MAX_KEYS: u32 = 1_000;
/// Most keys of a page, and how many there are by default.
const MAX_PAGE: u32 = 200;
const DEFAULT_PAGE: u32 = 50;

/// `POST /v1/keys`
pub async fn create(mut call: Call) -> Result<Response, Error> {
    let request: CreateKey = call.body().await?;
    let authority = Authority::of(&call.env)?;
    let (id, key, digest) = generate(authority.tagger());
    let record = creation::plan(&request, &call.principal, time::now(), id, digest)?;
    if !store::insert(call.database()?, &record, MAX_KEYS).await? {
        return Err(Error::new(Code::TooManyRequests, format!("the tenant has {MAX_KEYS} keys: revoke some first")));
    }
    let answer = call.json(201, &NewKey { shown: record.shown.clone(), key });
    lookup::learn(record);
    Ok(answer)
}

/// `GET /v1/keys?limit=&cursor=&revoked=&tenant=`
pub async fn list(call: Call) -> Result<Response, Error> {
    let limit = call.limit(DEFAULT_PAGE, MAX_PAGE)?;
    let after = call.parameter("cursor").map(|cursor| cursor.parse::<KeyId>()).transpose();
    let after = after.map_err(|_| invalid_parameter("cursor", "what a page gave as its cursor"))?;
    let tenant = call.parameter("tenant").map(|tenant| tenant.parse::<Tenant>()).transpose()?;
    let own = Some(call.principal.tenant.clone()).filter(|_| !call.principal.operator);
    let tenant = own.or(tenant);
    // One more than is asked for tells whether there is another page.
    let revoked = match call.parameter("revoked").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(invalid_parameter("revoked", "`true` or `false`")),
    };
    let tenant = tenant.as_ref();
    let filter = store::Filter { tenant, revoked, after: after.as_ref(), limit: limit + 1 };
    let mut keys: Vec<_> = store::list(call.database()?, &filter).await?.into_iter().map(|record| record.shown).collect();
    let more = keys.len() > limit as usize;
    keys.truncate(limit as usize);
    let cursor = keys.last().filter(|_| more).map(|key| key.id.to_string());
    Ok(call.json(200, &KeyPage { keys, cursor }))
}

/// `GET /v1/keys/{id}`
pub async fn show(call: Call, id: &KeyId) -> Result<Response, Error> {
    let record = find(&call, id).await?;
    Ok(call.json(200, &record.shown))
}

/// `PATCH /v1/keys/{id}`
pub async fn rename(mut call: Call, id: &KeyId) -> Result<Response, Error> {
    let request: UpdateKey = call.body().await?;
    let name = creation::name(&request.name)?;
    let mut record = find(&call, id).await?;
    store::rename(call.database()?, id, &name).await?;
    record.shown.name = name;
    Ok(call.json(200, &record.shown))
}

/// `DELETE /v1/keys/{id}`
pub async fn revoke(call: Call, id: &KeyId) -> Result<Response, Error> {
    find(&call, id).await?;
    let revoked = store::revoke(call.database()?, id, time::now()).await?;
    for record in revoked {
        call.context.wait_until(hang_up(call.env.clone(), record.shown.tenant.clone(), record.shown.id.clone()));
        // This isolate refuses it from now on, whatever a look under way comes back with.
        lookup::learn(record);
    }
    Ok(call.empty())
}

/// Closes what a revoked key has opened.
async fn hang_up(env: Env, tenant: Tenant, key: KeyId) {
    if let Err(error) = revocation::disconnect(&env, BINDING, &tenant, &key).await {
        log::error(None, &format!("sockets of the revoked key {key} may be open: {}", error.message));
    }
}

async fn find(call: &Call, id: &KeyId) -> Result<Record, Error> {
    store::find(call.database()?, id).await?.ok_or_else(no_such_key)?.shown_to(&call.principal)
}
