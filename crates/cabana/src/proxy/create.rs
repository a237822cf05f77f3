//! `POST /v1/sandboxes`: the sandbox, and then what its project wants of it.

use cabana_protocol::{
    Access, Error,
    project::{Definition, ProjectName},
    sandbox::CreateSandbox,
};
use worker::{Context, Env, Method, Request, Response};

use super::{Origin, internal, named, report};
use crate::{
    Database, Handle, Kinds,
    create::{MAX_BODY_BYTES, inherit, validate},
    handle, projects,
    request::{decode, read_body},
    sandbox::{CONTROL_PATH, SETUP_PATH, SetUp, cancellable},
};

/// Makes or finds the sandbox; one of a project is answered when it is ready, or told about while it is made so.
pub(super) async fn create(
    mut request: Request,
    env: &Env,
    context: &Context,
    binding: &str,
    origin: &Origin<'_>,
) -> Result<Response, Error> {
    let mut body: CreateSandbox = decode(&read_body(&mut request, MAX_BODY_BYTES).await?)?;
    let credentials = body.credentials.take();
    let project = project(&mut body, env, origin).await?;
    let id = validate(&body, &Kinds::read(env)?)?;
    // Credentials for certain sandboxes make those and no others.
    let allowed = origin.principal.check(&Access { sandbox: Some(&id), operation: "sandbox.create", read_only: false });
    let handle = Handle::new(env, binding, id)?;
    if let Err(error) = allowed {
        report(handle, context, &error, origin)?;
        return Err(error);
    }
    let outgoing = handle::request(Method::Post, CONTROL_PATH, Some(&body))?;
    let made = handle.fetch(named(outgoing, origin)?).await?;
    match project {
        Some((project, definition)) if made.status_code() < 400 => {
            let plan = SetUp { project, definition, credentials, new: made.status_code() == 201 };
            set_up(&handle, &plan, &request, origin).await
        }
        _ => Ok(made),
    }
}

/// The project that is asked for, from which the request has then inherited, with the variables that came of that.
async fn project(body: &mut CreateSandbox, env: &Env, origin: &Origin<'_>) -> Result<Option<(ProjectName, Definition)>, Error> {
    let Some(name) = body.project.clone() else { return Ok(None) };
    let definition = projects::get(&Database::get(env)?, &origin.principal.tenant, &name).await?.definition;
    inherit(body, &definition);
    Ok(Some((name, Definition { env: body.env.clone(), ..definition })))
}

async fn set_up(handle: &Handle, plan: &SetUp, request: &Request, origin: &Origin<'_>) -> Result<Response, Error> {
    let outgoing = handle::request(Method::Post, SETUP_PATH, Some(plan))?;
    if let Some(accept) = request.headers().get("accept").map_err(internal)? {
        outgoing.headers().set("accept", &accept).map_err(internal)?;
    }
    let origin = &Origin { operation: "sandbox.setup", ..*origin };
    let outgoing = cancellable(named(outgoing, origin)?.inner(), &request.inner().signal()).map_err(internal)?;
    handle.fetch(outgoing.into()).await
}
