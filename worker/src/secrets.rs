//! `/v1/secrets`: what is added to the requests of a tenant's sandboxes, outside the sandboxes.

use cabana::{Database, secrets};
use cabana_protocol::{
    Error, decode_fields,
    secret::{CreateSecret, SecretName},
};
use serde_json::{Map, Value};
use worker::Response;

use crate::call::Call;

/// Most secrets in one answer, and how many where it is not said.
const MAX_LIMIT: u32 = 1_000;
const DEFAULT_LIMIT: u32 = 100;

/// Stores a secret, or puts a new value in place of the stored one. Fails with `invalid_request`, `not_implemented` and `too_many_requests`.
pub async fn put(mut call: Call) -> Result<Response, Error> {
    let fields: Map<String, Value> = call.body().await?;
    let request: CreateSecret = decode_fields(fields)?;
    let (secret, is_new) = secrets::put(&call.env, &call.principal.tenant, &request).await?;
    Ok(call.json(if is_new { 201 } else { 200 }, &secret))
}

/// Lists the tenant's secrets, without their values.
pub async fn list(call: &Call) -> Result<Response, Error> {
    let limit = call.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let after = call.parameter("cursor").unwrap_or_default();
    let page = secrets::list(&Database::get(&call.env)?, &call.principal.tenant, &after, limit).await?;
    Ok(call.json(200, &page))
}

/// Shows a secret, without its value. Fails with `not_found`.
pub async fn get(call: &Call, name: &SecretName) -> Result<Response, Error> {
    let secret = secrets::get(&Database::get(&call.env)?, &call.principal.tenant, name).await?;
    Ok(call.json(200, &secret))
}

/// Forgets a secret, if there is one. Requests that it would be added to fail from then on.
pub async fn delete(call: &Call, name: &SecretName) -> Result<Response, Error> {
    secrets::delete(&Database::get(&call.env)?, &call.principal.tenant, name).await?;
    Ok(call.empty())
}
