//! A visit to a program that listens on a port. Bodies are streams that are handed over, never read.

use std::{rc::Rc, time::Duration};

use cabana_protocol::{Code, Error};
use worker::{Delay, Headers, Request, Response, Result as WorkerResult};

use super::{
    super::{agent::Agent, forward::check, runtime::Lease},
    Object,
    hold::hold,
};
use crate::{
    Principal, RequestId,
    clock::now,
    fault::{self, Fault},
    preview::{
        Key, page,
        visit::{HEADER, Visit},
    },
    principal,
    wire::{BINDING_HEADER, MAKING_HEADER, cancellable, redirect},
};

/// How long a program that does not listen yet is waited for, and the pause between two attempts.
const LISTENS_WITHIN: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);

/// Answers with what the program answers; errors are for the visitor, in the form that he asks for.
pub(super) async fn answer(object: &Rc<Object>, principal: &Principal, request: &Request, request_id: &RequestId) -> Response {
    let accept = || request.headers().get("accept").ok().flatten();
    match pass(object, principal, request).await {
        Ok(response) => response,
        Err(error) => page::error(&error, accept().as_deref(), request_id),
    }
}

async fn pass(object: &Rc<Object>, principal: &Principal, request: &Request) -> Result<Response, Error> {
    let visit = Visit::decode(request.headers().get(HEADER).ok().flatten().as_deref())?;
    let wakes = admit(object, principal, &visit)?;
    if !wakes && !object.supervisor.is_up() {
        return Err(fault::not_ready("the sandbox sleeps, and a visit does not wake it"));
    }
    let lease = object.supervisor.ready().await.map_err(|error| not_awake(&visit, error))?;
    let response = reach(&lease, request, &visit).await.map_err(|error| failed(&lease, &Fault::parse(&error.to_string())))?;
    let response = check(response)
        .map_err(|_| Error::new(Code::AgentUnavailable, "what the program on this port has answered cannot be passed on"))?;
    Ok(hold(response, lease))
}

/// Whether the visitor may come in, and then whether he may wake the sandbox. All who may not are told the same.
fn admit(object: &Object, principal: &Principal, visit: &Visit) -> Result<bool, Error> {
    let Some(key) = &visit.key else {
        return object.store.admit(principal).map(|()| true);
    };
    // What opens any other preview is the key in its URL.
    if *key == Key::Private {
        object.store.admit(principal).map_err(|_| page::nobody())?;
    }
    let exposure = if object.store.is_empty() { None } else { object.exposure(visit.port)? };
    exposure.filter(|exposure| exposure.is_opened_by(key)).map(|exposure| exposure.wakes).ok_or_else(page::nobody)
}

/// The program's answer. It waits for a program that does not listen yet: visitors are often quicker than the program that they have just
/// started. What was sent with a body is not repeated, because the body may be used up.
async fn reach(lease: &Lease, request: &Request, visit: &Visit) -> WorkerResult<Response> {
    let (begun, repeatable) = (now(), request.inner().body().is_none());
    loop {
        match call(lease, request, visit).await {
            Err(error)
                if repeatable
                    && Fault::parse(&error.to_string()) == Fault::NotAdmitted
                    && now().since(begun) < LISTENS_WITHIN
                    && !request.inner().signal().aborted() => {}
            outcome => return outcome,
        }
        Delay::from(PAUSE).await;
    }
}

async fn call(lease: &Lease, request: &Request, visit: &Visit) -> WorkerResult<Response> {
    let defect = |what: String| worker::Error::RustError(what);
    let agent = Agent::new(lease).map_err(|error| defect(error.message))?;
    let target = visit.target(&request.inner().url()).ok_or_else(|| defect("a visit has no path".to_owned()))?;
    let outgoing = cancellable(&redirect(request, &target)?, &request.inner().signal())?;
    let headers = Headers(outgoing.headers());
    headers.delete(HEADER)?;
    headers.delete(principal::HEADER)?;
    headers.delete(BINDING_HEADER)?;
    headers.delete(MAKING_HEADER)?;
    agent.visit(visit.port.number(), Request::from(outgoing)).await
}

/// A visitor is not told how the sandbox fares; a caller of the API is.
fn not_awake(visit: &Visit, error: Error) -> Error {
    match error.code {
        _ if visit.key.is_none() => error,
        Code::NotFound => page::nobody(),
        _ => fault::not_ready("the sandbox is not ready"),
    }
}

fn failed(lease: &Lease, fault: &Fault) -> Error {
    // It may be the container that is gone, and not the program.
    lease.failed();
    match fault {
        Fault::NotAdmitted => fault::not_ready("nothing listens on this port of the sandbox").because("no_listener"),
        Fault::Interrupted => {
            Error::new(Code::AgentUnavailable, "the program on this port broke the connection off without an answer")
        }
    }
}
