//! `/v1/projects`: what sandboxes are set up from, each tenant's own.

use cabana::{
    Database, Error, Kinds,
    projects::{self, decode},
};
use cabana_protocol::project::ProjectName;
use serde_json::{Map, Value};
use worker::Response;

use crate::call::Call;

/// Most projects in one answer, and how many where it is not said.
const MAX_LIMIT: u32 = 1_000;
const DEFAULT_LIMIT: u32 = 100;

/// Makes a project. Fails with `invalid_request`, and with `conflict` where there is one of its name.
pub async fn create(mut call: Call) -> Result<Response, Error> {
    let mut fields: Map<String, Value> = call.body().await?;
    let name = fields.remove("name").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
    let name: ProjectName = name.parse()?;
    let definition = decode(fields, &Kinds::read(&call.env)?)?;
    let project = projects::insert(&Database::get(&call.env)?, &call.principal.tenant, name, definition).await?;
    Ok(call.json(201, &project.show()))
}

/// Lists the tenant's projects.
pub async fn list(call: &Call) -> Result<Response, Error> {
    let limit = match call.parameter("limit") {
        None => DEFAULT_LIMIT,
        Some(limit) => limit.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(bad_limit)?,
    };
    let after = call.parameter("cursor").unwrap_or_default();
    let page = projects::list(&Database::get(&call.env)?, &call.principal.tenant, &after, limit).await?;
    Ok(call.json(200, &page))
}

/// Shows a project. Fails with `not_found`.
pub async fn get(call: &Call, name: &ProjectName) -> Result<Response, Error> {
    let project = projects::get(&Database::get(&call.env)?, &call.principal.tenant, name).await?;
    Ok(call.json(200, &project.show()))
}

/// Changes the fields that are named; null resets one. Fails with `not_found`, `invalid_request`, and `conflict` where somebody else
/// changes it at the same time.
pub async fn update(mut call: Call, name: &ProjectName) -> Result<Response, Error> {
    let mut changes: Map<String, Value> = call.body().await?;
    if changes.remove("name").is_some_and(|other| other != name.as_str()) {
        return Err(Error::invalid_request("name: a project keeps its name"));
    }
    let database = Database::get(&call.env)?;
    let project = projects::get(&database, &call.principal.tenant, name).await?;
    let project = project.change(changes, &Kinds::read(&call.env)?)?;
    let project = projects::update(&database, &call.principal.tenant, project).await?;
    Ok(call.json(200, &project.show()))
}

/// Forgets a project, if there is one. Its sandboxes stay.
pub async fn delete(call: &Call, name: &ProjectName) -> Result<Response, Error> {
    projects::delete(&Database::get(&call.env)?, &call.principal.tenant, name).await?;
    Ok(call.empty())
}

fn bad_limit() -> Error {
    Error::invalid_request(format!("limit: a number from 1 to {MAX_LIMIT}"))
}
