//! What the object answers for itself: the sandbox's identity and life.

use std::rc::Rc;

use cabana_protocol::{
    Error,
    sandbox::{CreateSandbox, UpdateSandbox},
};
use serde_json::json;
use worker::{Method, Request, Response};

use super::{
    audit, history,
    life::{Life, not_found},
    measure, setup,
};
use crate::{
    Principal, RequestId, create,
    gateway::Gateway,
    reply,
    request::{decode, read_body},
    tenant::Place,
};

/// Answers a request whose path, below [`super::CONTROL_PATH`], is `action`.
pub(super) async fn answer(
    life: &Rc<Life>,
    mut request: Request,
    action: &str,
    principal: &Principal,
    request_id: &RequestId,
) -> Result<Response, Error> {
    match (request.method(), action) {
        (Method::Post, "") => return create(life, &mut request, principal, request_id).await,
        (Method::Patch, "") => update(life, &mut request).await?,
        (Method::Delete, "") => return life.destroy().await.map(|()| reply::empty(request_id)),
        (Method::Post, "/refused") => return Err(audit::refusal(&request)),
        (Method::Post, "/setup") => return setup::answer(life, request, request_id).await,
        (Method::Post, "/start") => drop(life.awake().await?),
        (Method::Post, "/stop") => life.stop().await?,
        (Method::Post, "/restart") => {
            life.stop().await?;
            life.awake().await?;
        }
        (Method::Get | Method::Head, "") => {}
        (Method::Get | Method::Head, what) => return show(life, &request, what, principal, request_id).await,
        _ => return Err(nothing()),
    }
    Ok(reply::json(200, &life.look().await?, request_id))
}

async fn create(
    life: &Rc<Life>,
    request: &mut Request,
    principal: &Principal,
    request_id: &RequestId,
) -> Result<Response, Error> {
    let body: CreateSandbox = decode(&read_body(request, create::MAX_BODY_BYTES).await?)?;
    create::check(&body)?;
    life.reserve(&principal.tenant).await?;
    let made = life.create(body, principal);
    if made.is_err() && life.owner().as_ref() != Some(&principal.tenant) {
        life.spawn(life.admission.give(Place::Sandbox, principal.tenant.clone()));
    }
    let (sandbox, new) = made?;
    Ok(reply::json(if new { 201 } else { 200 }, &sandbox, request_id))
}

async fn update(life: &Rc<Life>, request: &mut Request) -> Result<(), Error> {
    let body: UpdateSandbox = decode(&read_body(request, create::MAX_BODY_BYTES).await?)?;
    create::check_update(&body)?;
    life.update(body).map(drop)
}

/// What is known of the sandbox beside what it is.
async fn show(
    life: &Rc<Life>,
    request: &Request,
    what: &str,
    principal: &Principal,
    request_id: &RequestId,
) -> Result<Response, Error> {
    life.audit.catch_up();
    match what {
        "/events" => history::answer(life, request, request_id),
        "/metrics" => measure::answer(life, request, request_id).await,
        // Another tenant's sandbox cannot be told from none.
        "/audit" | "/audit/verify" if life.owner().is_none() && !life.audit.shows(principal)? => Err(not_found()),
        "/audit" => audit::list(&life.audit, request, principal, request_id),
        "/audit/verify" => audit::verify(&life.audit, request_id),
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
