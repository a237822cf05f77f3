//! What the object answers for itself: the sandbox's identity and life.

use std::rc::Rc;

use cabana_protocol::{
    Error,
    sandbox::{CreateSandbox, UpdateSandbox},
};
use serde::Deserialize;
use serde_json::json;
use worker::{Method, Request, Response};

use super::{archives, gateway::Gateway, history, metrics, network, object::Object, setup, snapshots, store::not_found};
use crate::{
    Principal, RequestId, audit, create, reply,
    request::{decode, read_body},
    wire::FORK_HEADER,
};

/// Answers a request whose path, below [`super::CONTROL_PATH`], is `action`.
pub(super) async fn answer(
    object: &Rc<Object>,
    mut request: Request,
    action: &str,
    principal: &Principal,
    request_id: &RequestId,
) -> Result<Response, Error> {
    if matches!((request.method(), action), (Method::Post, "/start" | "/stop" | "/restart" | "/upgrade")) {
        decode::<Nothing>(&read_body(&mut request, create::MAX_BODY_BYTES).await?)?;
    }
    if let Some(rest) = action.strip_prefix("/archives") {
        return archives::answer(object, request, rest, principal, request_id).await;
    }
    if let Some(rest) = action.strip_prefix("/snapshots") {
        return snapshots::answer(object, request, rest, request_id).await;
    }
    match (request.method(), action) {
        (Method::Post, "") => return create(object, &mut request, principal, request_id).await,
        (Method::Patch, "") => update(object, &mut request, principal).await?,
        (Method::Delete, "") => {
            // Where there is no sandbox there is no list either.
            if object.store.lifecycle().is_some() {
                object.give_snapshots()?;
            }
            object.supervisor.destroy().await?;
            object.outbox.free_when_told().await?;
            return Ok(reply::empty(request_id));
        }
        (Method::Post, "/refused") => return Err(audit::refusal(&request)),
        (Method::Post, "/network") => return network::record(object, &mut request, request_id).await,
        (Method::Post, "/setup") => return setup::answer(object, request, request_id).await,
        (Method::Post, "/start") => drop(object.supervisor.ready().await?),
        (Method::Post, "/stop") => object.supervisor.stop().await?,
        (Method::Post, "/upgrade") => return Ok(reply::json(200, &object.upgrade(principal).await?, request_id)),
        (Method::Post, "/restart") => {
            object.supervisor.stop().await?;
            drop(object.supervisor.ready().await?);
        }
        (Method::Get | Method::Head, "") => {}
        (Method::Get | Method::Head, what) => return show(object, &request, what, principal, request_id).await,
        _ => return Err(nothing()),
    }
    Ok(reply::json(200, &object.supervisor.look().await?, request_id))
}

/// A request that has no fields.
#[derive(Default, Deserialize)]
struct Nothing {}

async fn create(
    object: &Rc<Object>,
    request: &mut Request,
    principal: &Principal,
    request_id: &RequestId,
) -> Result<Response, Error> {
    let body: CreateSandbox = decode(&read_body(request, create::MAX_BODY_BYTES).await?)?;
    create::check(&body)?;
    let is_fork = request.headers().has(FORK_HEADER).unwrap_or(false);
    let (sandbox, new) = object.create(body, is_fork, principal).await?;
    Ok(reply::json(if new { 201 } else { 200 }, &sandbox, request_id))
}

async fn update(object: &Rc<Object>, request: &mut Request, principal: &Principal) -> Result<(), Error> {
    let body: UpdateSandbox = decode(&read_body(request, create::MAX_BODY_BYTES).await?)?;
    create::check_update(&body)?;
    object.update(body, principal).await
}

/// What is known of the sandbox beside what it is.
async fn show(
    object: &Rc<Object>,
    request: &Request,
    what: &str,
    principal: &Principal,
    request_id: &RequestId,
) -> Result<Response, Error> {
    object.audit.catch_up();
    match what {
        "/env" => Ok(reply::json(200, &object.variables().await?, request_id)),
        "/events" => history::answer(object, request, request_id),
        "/network" => network::answer(object, request_id),
        "/metrics" => metrics::answer(object, request, request_id).await,
        // Another tenant's sandbox cannot be told from none.
        "/audit" | "/audit/verify" if object.store.is_empty() && !object.audit.shows(principal)? => Err(not_found()),
        "/audit" => audit::list(&object.audit, request, principal, request_id),
        "/audit/verify" => {
            let noted = object.outbox.noted_head().await?;
            audit::verify(&object.audit, request, noted, request_id)
        }
        _ => Err(nothing()),
    }
}

fn nothing() -> Error {
    Error::not_found("there is nothing of the sandbox here")
}

/// Closes the sockets of an API key that was revoked.
pub(super) fn disconnect(gateway: &Rc<Gateway>, request: &Request, request_id: &RequestId) -> Result<Response, Error> {
    let url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
    let key = url.query_pairs().find(|(name, _)| name == "key");
    let key = key.ok_or_else(|| Error::invalid_request("whose sockets? key is missing"))?.1.parse()?;
    Ok(reply::json(200, &json!({ "closed": gateway.revoke(&key) }), request_id))
}
