//! Passing a request on to the agent, and its answer back. Bodies are streams that are handed over, never read.

use std::rc::Rc;

use cabana_protocol::{Code, Error, table};
use worker::{Request, Response, ResponseBody};

use super::{
    agent::Agent,
    runtime::{Lease, Supervisor},
};
use crate::{RequestId, fault::Fault, log, reply, request_id};

/// Wakes the sandbox and has its agent answer. The request's URL is already the agent's.
///
/// An operation that only looks neither wakes a sandbox nor keeps one awake: where there is no agent to ask, its answer is the one that
/// the protocol gives it for a sandbox that sleeps.
///
/// A request without a body is repeated once if the agent never saw it; one with a body is the caller's to repeat, because
/// the body may be used up. Fails as [`Supervisor::ready`] does, and with `container_not_ready` or `interrupted` by what became of
/// the request.
pub(super) async fn forward(
    supervisor: &Rc<Supervisor>,
    request: &Request,
    call: Option<&str>,
    request_id: &RequestId,
) -> Result<Response, Error> {
    let asleep = operation(&request.path()).and_then(|operation| operation.asleep);
    if let Some(asleep) = asleep.filter(|_| !supervisor.store().is_empty() && !supervisor.is_up()) {
        return Ok(reply::raw_json(asleep, request_id));
    }
    let lease = async || if asleep.is_some() { supervisor.ready_quietly().await } else { supervisor.ready().await };
    let repeatable = request.inner().body().is_none();
    match attempt(&lease().await?, request, call, request_id).await? {
        Err(Fault::NotAdmitted) if repeatable => attempt(&lease().await?, request, call, request_id).await?,
        outcome => outcome,
    }
    .map_err(Fault::error)
}

/// The operation of this path, where it is one: the byte lane and the WebSocket are none.
fn operation(path: &str) -> Option<&'static table::Descriptor> {
    table::find(&path.strip_prefix("/v1/")?.trim_end_matches('/').replace('/', "."))
}

/// Calls the agent; `Err` of the inner result is a call that failed. The agent may take as long as it likes to answer: whether it is alive, the supervisor watches.
async fn attempt(
    lease: &Lease,
    request: &Request,
    call: Option<&str>,
    request_id: &RequestId,
) -> Result<Result<Response, Fault>, Error> {
    match Agent::new(lease)?.fetch(request, call).await {
        Ok(response) => {
            lease.answered();
            Ok(Ok(reply::with_header(check(response)?, request_id::HEADER, request_id.as_str())))
        }
        Err(error) => {
            let fault = Fault::parse(&error.to_string());
            if !request.inner().signal().aborted() {
                log::warn(Some(request_id.as_str()), &format!("the agent did not answer ({fault:?}): {error}"));
                lease.failed();
            }
            Ok(Err(fault))
        }
    }
}

/// The response where the runtime makes one of it again. Code in the sandbox may have taken the agent's place, and what the
/// runtime refuses would be a panic in workers-rs, which takes down every request beside this one.
pub(super) fn check(response: Response) -> Result<Response, Error> {
    let status = response.status_code();
    let (head, body) = response.into_parts();
    let sound = match status {
        101 => head.clone().empty().websocket().is_some(),
        204 | 205 | 304 => matches!(body, ResponseBody::Empty),
        _ => (200..=599).contains(&status),
    };
    let odd = || Error::new(Code::AgentUnavailable, format!("the agent's answer, of status {status}, cannot be passed on"));
    sound.then(|| head.body(body)).ok_or_else(odd)
}
