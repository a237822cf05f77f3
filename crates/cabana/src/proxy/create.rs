//! `POST /v1/sandboxes`: the sandbox, and then what its project wants of it.

use cabana_protocol::{
    Access, Code, Error, SandboxId,
    names::invalid_field,
    project::{Definition, ProjectName},
    sandbox::{CreateSandbox, CreateSnapshot, ForkSandbox, Forks, MAX_FORKS, Origin as From, Sandbox, Snapshot},
};
use futures_util::future;
use worker::{Context, Env, Method, Request, Response};

use super::{Origin, internal, named, report};
use crate::{
    Address, Database, Handle, Kinds,
    create::{MAX_BODY_BYTES, inherit, validate},
    handle, log, projects, random, reply,
    request::{decode, read_body},
    sandbox::SetUp,
    wire::{self, CONTROL_PATH, FORK_HEADER, SETUP_PATH, cancellable},
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
    let kinds = Kinds::read(env)?;
    if let Some(from) = &body.from {
        let source = from.snapshot.sandbox()?;
        // Who may not have the files of a sandbox may not have them in another one either.
        origin.principal.check(&Access { sandbox: Some(&source), operation: "sandbox.fork", read_only: false })?;
        let kind = source.kind_among(kinds.iter().map(|(name, _)| name)).to_owned();
        body.kind.get_or_insert(kind);
    }
    let id = validate(&body, &kinds)?;
    // Credentials for certain sandboxes make those and no others.
    let allowed = origin.principal.check(&Access { sandbox: Some(&id), operation: "sandbox.create", read_only: false });
    let address = Address::new(id, &origin.principal.tenant);
    let handle = Handle::new(env, binding, address)?.acting_for(origin.principal);
    if let Err(error) = allowed {
        report(handle, context, &error, origin)?;
        return Err(error);
    }
    let outgoing = wire::request(Method::Post, CONTROL_PATH, Some(&body))?;
    let made = handle.pass(named(outgoing, origin)?).await?;
    match project {
        Some((project, definition)) if made.status_code() < 400 => {
            let plan = SetUp { project, definition, credentials, new: made.status_code() == 201 };
            set_up(&handle, &plan, &request, origin).await
        }
        _ => Ok(made),
    }
}

/// The project that is asked for, from which the request has then inherited.
async fn project(body: &mut CreateSandbox, env: &Env, origin: &Origin<'_>) -> Result<Option<(ProjectName, Definition)>, Error> {
    let Some(name) = body.project.clone() else { return Ok(None) };
    let definition = projects::get(&Database::get(env)?, &origin.principal.tenant, &name).await?.definition;
    inherit(body, &definition);
    Ok(Some((name, definition)))
}

async fn set_up(handle: &Handle, plan: &SetUp, request: &Request, origin: &Origin<'_>) -> Result<Response, Error> {
    let outgoing = wire::request(Method::Post, SETUP_PATH, Some(plan))?;
    if let Some(accept) = request.headers().get("accept").map_err(internal)? {
        outgoing.headers().set("accept", &accept).map_err(internal)?;
    }
    let origin = &Origin { operation: "sandbox.setup", ..*origin };
    let outgoing = cancellable(named(outgoing, origin)?.inner(), &request.inner().signal()).map_err(internal)?;
    handle.pass(outgoing.into()).await
}

/// Takes a snapshot, and makes sandboxes that begin with it: all that are asked for, or none.
pub(super) async fn fork(
    mut request: Request,
    env: &Env,
    parent: Handle,
    binding: &str,
    origin: &Origin<'_>,
) -> Result<Response, Error> {
    let body: ForkSandbox = decode(&read_body(&mut request, MAX_BODY_BYTES).await?)?;
    let count = body.count.unwrap_or(1);
    if !(1..=MAX_FORKS).contains(&count) {
        return Err(invalid_field("count", &format!("a whole number from 1 to {MAX_FORKS}, got {count}")));
    }
    let kinds = Kinds::read(env)?;
    let kind = parent.id().kind_among(kinds.iter().map(|(name, _)| name)).to_owned();
    let ids = (1..=count).map(|number| fork_id(&kind, body.name.as_deref(), number, count)).collect::<Result<Vec<_>, _>>()?;
    for id in &ids {
        origin.principal.check(&Access { sandbox: Some(id), operation: "sandbox.create", read_only: false })?;
    }
    let wanted = CreateSnapshot { name: Some("fork".to_owned()) };
    let taken = wire::request(Method::Post, &format!("{CONTROL_PATH}/snapshots"), Some(&wanted))?;
    let snapshot: Snapshot = handle::decode(parent.pass(named(taken, origin)?).await?).await?;
    let begins = CreateSandbox { from: Some(From { snapshot: snapshot.id.clone() }), ..CreateSandbox::default() };
    let fork = |id| Handle::new(env, binding, Address::new(id, &origin.principal.tenant));
    let forks = ids.into_iter().map(|id| fork(id).map(|handle| handle.acting_for(origin.principal)));
    let forks = forks.collect::<Result<Vec<_>, _>>()?;
    let made = future::join_all(forks.iter().map(|fork| fork_one(fork, &begins, origin))).await;
    if let Some(error) = made.iter().find_map(|made| made.as_ref().err()).cloned() {
        undo(&forks, &made).await;
        let path = format!("{CONTROL_PATH}/snapshots/{}", snapshot.id);
        let forgotten = wire::request(Method::Delete, &path, None::<&()>)?;
        handle::check(parent.pass(named(forgotten, origin)?).await?).await?;
        return Err(error);
    }
    let sandboxes = made.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(reply::json(201, &Forks { snapshot, sandboxes }, origin.request_id))
}

fn fork_id(kind: &str, name: Option<&str>, number: u32, count: u32) -> Result<SandboxId, Error> {
    match name {
        None => SandboxId::new(kind, &random::name()),
        Some(name) if count == 1 => SandboxId::new(kind, name),
        Some(name) => SandboxId::new(kind, &format!("{name}-{number}")),
    }
}

/// Makes one sandbox. One that is there already is no fork.
async fn fork_one(fork: &Handle, begins: &CreateSandbox, origin: &Origin<'_>) -> Result<Sandbox, Error> {
    let request = wire::request(Method::Post, CONTROL_PATH, Some(begins))?;
    request.headers().set(FORK_HEADER, "1").map_err(internal)?;
    let taken = || Error::new(Code::Conflict, format!("the sandbox {} exists already", fork.id())).because("taken");
    match handle::check(fork.pass(named(request, origin)?).await?).await {
        Ok(made) if made.status_code() == 201 => handle::decode(made).await,
        Ok(_) => Err(taken()),
        // One with other settings, as any other sandbox of this name has.
        Err(error) if error.code == Code::Conflict => Err(taken()),
        Err(error) => Err(error),
    }
}

/// Destroys those that were made.
async fn undo(forks: &[Handle], made: &[Result<Sandbox, Error>]) {
    for (fork, _) in forks.iter().zip(made).filter(|(_, made)| made.is_ok()) {
        if let Err(error) = fork.delete().await {
            log::error(None, &format!("a fork that was given up is left: {}", error.message));
        }
    }
}
