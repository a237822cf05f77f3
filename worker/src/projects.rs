//! `/v1/projects`: what sandboxes are set up from, each tenant's own.

use cabana::{
    Database, Kinds, check_network,
    projects::{self, decode},
};
use cabana_protocol::{
    Error, decode_parameter,
    names::{excluded_field, missing_field},
    project::{Definition, ProjectName},
};
use serde_json::{Map, Value};
use worker::Response;

use crate::call::Call;

/// Most projects in one answer, and how many where it is not said.
const MAX_LIMIT: u32 = 1_000;
const DEFAULT_LIMIT: u32 = 100;

/// Makes a project, or finds it as it is asked for. Fails with `invalid_request`, and with `conflict` where there is another one of its name.
pub async fn create(mut call: Call) -> Result<Response, Error> {
    let mut fields: Map<String, Value> = call.body().await?;
    let Some(name) = fields.remove("name") else { return Err(missing_field("name")) };
    let name: ProjectName = decode_parameter("name", name.as_str().unwrap_or_default())?;
    let definition = decode(fields, &Kinds::read(&call.env)?)?;
    check(&call, &definition).await?;
    let (project, new) = projects::insert(&Database::get(&call.env)?, &call.principal.tenant, name, definition).await?;
    Ok(call.json(if new { 201 } else { 200 }, &project.show()))
}

/// Lists the tenant's projects.
pub async fn list(call: &Call) -> Result<Response, Error> {
    let limit = call.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
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
        return Err(excluded_field("name", "cannot be changed: a project keeps its name"));
    }
    let database = Database::get(&call.env)?;
    let project = projects::get(&database, &call.principal.tenant, name).await?;
    let before = project.definition.clone();
    let mut project = project.change(changes, &Kinds::read(&call.env)?)?;
    check(&call, &project.definition).await?;
    // What changes nothing changes no time.
    if project.definition != before {
        project = projects::update(&database, &call.principal.tenant, project).await?;
    }
    Ok(call.json(200, &project.show()))
}

/// Whether what the network rules name is there. Fails with `invalid_request`.
async fn check(call: &Call, definition: &Definition) -> Result<(), Error> {
    match &definition.network {
        Some(network) => check_network(&call.env, &call.principal.tenant, network).await,
        None => Ok(()),
    }
}

/// Forgets a project, if there is one. Its sandboxes stay.
pub async fn delete(call: &Call, name: &ProjectName) -> Result<Response, Error> {
    projects::delete(&Database::get(&call.env)?, &call.principal.tenant, name).await?;
    Ok(call.empty())
}
