//! A visit to a program that listens on a port. Bodies are streams that are handed over, never read.

use std::rc::Rc;

use cabana_protocol::{Code, Error};
use worker::{Headers, Request, Response, Result as WorkerResult};

use super::{
    super::forward::{cancellable, check, redirect},
    Life,
    hold::hold,
};
use crate::{
    Principal, RequestId,
    fault::{self, Fault},
    handle::BINDING_HEADER,
    preview::{
        page,
        visit::{HEADER, Visit},
    },
    principal,
};

/// Answers with what the program answers; errors are for the visitor, in the form that he asks for.
pub(super) async fn answer(life: &Rc<Life>, principal: &Principal, request: &Request, request_id: &RequestId) -> Response {
    let accept = || request.headers().get("accept").ok().flatten();
    match pass(life, principal, request).await {
        Ok(response) => response,
        Err(error) => page::error(&error, accept().as_deref(), request_id),
    }
}

async fn pass(life: &Rc<Life>, principal: &Principal, request: &Request) -> Result<Response, Error> {
    let visit = Visit::decode(request.headers().get(HEADER).ok().flatten().as_deref())?;
    let wakes = admit(life, principal, &visit)?;
    if !wakes && !life.is_up() {
        return Err(fault::not_ready("the sandbox sleeps, and a visit does not wake it"));
    }
    let busy = life.begin();
    life.awake().await.map_err(|error| not_awake(&visit, error))?;
    let response = call(life, request, &visit).await.map_err(|error| failed(life, &Fault::of(&error.to_string())))?;
    let response = check(response)
        .map_err(|_| Error::new(Code::AgentUnavailable, "what the program on this port has answered cannot be passed on"))?;
    Ok(hold(life, response, busy))
}

/// Whether the visitor may come in, and then whether he may wake the sandbox. All who may not are told the same.
fn admit(life: &Life, principal: &Principal, visit: &Visit) -> Result<bool, Error> {
    let Some(key) = &visit.key else {
        return life.admit(principal).map(|()| true);
    };
    life.admit(principal).map_err(|_| page::nobody())?;
    let exposure = if life.describe().is_ok() { life.exposure(visit.port)? } else { None };
    exposure.filter(|exposure| exposure.is_opened_by(key)).map(|exposure| exposure.wakes).ok_or_else(page::nobody)
}

async fn call(life: &Life, request: &Request, visit: &Visit) -> WorkerResult<Response> {
    let defect = |what: String| worker::Error::RustError(what);
    let container = life.container().map_err(|error| defect(error.message))?;
    let target = visit.target(&request.inner().url()).ok_or_else(|| defect("a visit has no path".to_owned()))?;
    let outgoing = cancellable(&redirect(request, &target)?, &request.inner().signal())?;
    let headers = Headers(outgoing.headers());
    headers.delete(HEADER)?;
    headers.delete(principal::HEADER)?;
    headers.delete(BINDING_HEADER)?;
    container.port(visit.port.number())?.fetch_request(Request::from(outgoing)).await
}

/// A visitor is not told how the sandbox fares; a caller of the API is.
fn not_awake(visit: &Visit, error: Error) -> Error {
    match error.code {
        _ if visit.key.is_none() => error,
        Code::NotFound => page::nobody(),
        _ => fault::not_ready("the sandbox is not ready"),
    }
}

fn failed(life: &Life, fault: &Fault) -> Error {
    // It may be the container that is gone, and not the program.
    life.trust(false);
    match fault {
        Fault::NotAdmitted => fault::not_ready("nothing listens on this port of the sandbox"),
        Fault::Interrupted => {
            Error::new(Code::AgentUnavailable, "the program on this port broke the connection off without an answer")
        }
    }
}
