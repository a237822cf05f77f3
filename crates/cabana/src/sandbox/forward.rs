//! Passing a request on to the agent, and its answer back. Bodies are streams that are handed over, never read.

use std::{pin::pin, rc::Rc, time::Duration};

use cabana_protocol::{Code, Error, table};
use futures_util::future::{self, Either};
use js_sys::{Function, Reflect};
use worker::{Delay, Request, Response, ResponseBody, Result as WorkerResult, wasm_bindgen::JsCast, web_sys};

use super::{
    life::Life,
    wake::{Finding, HANG},
};
use crate::{RequestId, fault::Fault, handle::BINDING_HEADER, lifecycle::Event, log, principal, reply, request_id};

/// How long an agent may be silent before it is asked for its health beside the call. Long silence is no fault: a command may run for
/// hours and print nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// Wakes the sandbox and has its agent answer. The request's URL is already the agent's.
///
/// An operation that only looks neither wakes a sandbox nor keeps one awake: where there is no agent to ask, its answer is the one that
/// the protocol gives it for a sandbox that sleeps.
///
/// A request without a body is repeated once if the agent never saw it; one with a body is the caller's to repeat, because
/// the body may be used up. Fails as [`Life::awake`] does, and with `container_not_ready` or `interrupted` by what became of
/// the request.
pub(super) async fn forward(life: &Rc<Life>, request: &Request, request_id: &RequestId) -> Result<Response, Error> {
    let asleep = operation(&request.path()).and_then(|operation| operation.asleep);
    if let Some(asleep) = asleep.filter(|_| !life.is_gone() && !life.is_up()) {
        return Ok(reply::raw_json(asleep, request_id));
    }
    let _busy = asleep.is_none().then(|| life.begin());
    let repeatable = request.inner().body().is_none();
    match attempt(life, request, request_id).await {
        Err(Failed::Fault(Fault::NotAdmitted)) if repeatable => attempt(life, request, request_id).await,
        outcome => outcome,
    }
    .map_err(|failed| match failed {
        Failed::Fault(fault) => fault.error(),
        Failed::Error(error) => error,
    })
}

/// The operation of this path, where it is one: the byte lane and the WebSocket are none.
fn operation(path: &str) -> Option<&'static table::Descriptor> {
    table::find(&path.strip_prefix("/v1/")?.trim_end_matches('/').replace('/', "."))
}

enum Failed {
    /// The call to the agent failed.
    Fault(Fault),
    /// It did not come to a call.
    Error(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

async fn attempt(life: &Rc<Life>, request: &Request, request_id: &RequestId) -> Result<Response, Failed> {
    let secret = life.awake().await?;
    let incarnation = life.incarnation();
    match call(life, request, &secret).await {
        Ok(response) => {
            life.trust(true);
            Ok(reply::with_header(check(response)?, request_id::HEADER, request_id.as_str()))
        }
        Err(error) => {
            let fault = Fault::of(&error.to_string());
            if !request.inner().signal().aborted() {
                log::warn(Some(request_id.as_str()), &format!("the agent did not answer ({fault:?}): {error}"));
                life.trust(false);
            }
            if fault == Fault::NotAdmitted {
                life.happen_to(incarnation, Event::Unreachable)?;
            }
            Err(Failed::Fault(fault))
        }
    }
}

/// Has the agent answer, as far as its answer's head. It may take as long as it likes, as long as it is well: that is asked beside the
/// call, which fails where the agent is gone or hangs.
async fn call(life: &Rc<Life>, request: &Request, secret: &str) -> WorkerResult<Response> {
    let mut answer = pin!(fetch(life, request, secret));
    let incarnation = life.incarnation();
    loop {
        let silence = match future::select(answer, pin!(Delay::from(SILENCE))).await {
            Either::Left((answer, _)) => return answer,
            Either::Right(((), answer)) => answer,
        };
        answer = match future::select(silence, pin!(life.examine(HANG))).await {
            Either::Left((answer, _)) => return answer,
            Either::Right((Finding::Well(_), answer)) => answer,
            Either::Right((finding, _)) => {
                if matches!(finding, Finding::Hangs) {
                    life.note(life.happen_to(incarnation, Event::Unresponsive));
                }
                return Err(worker::Error::RustError(format!("the agent was asked how it is: {finding:?}")));
            }
        };
    }
}

async fn fetch(life: &Life, request: &Request, secret: &str) -> WorkerResult<Response> {
    let container = life.container().map_err(|error| worker::Error::RustError(error.message))?;
    let outgoing = cancellable(&redirect(request, &request.inner().url())?, &request.inner().signal())?;
    outgoing.headers().set("authorization", &format!("Bearer {secret}"))?;
    // Who the caller is, is nobody's business in the sandbox.
    outgoing.headers().delete(principal::HEADER)?;
    outgoing.headers().delete(BINDING_HEADER)?;
    container.agent()?.fetch_request(Request::from(outgoing)).await
}

/// The same request, given up when the caller's is. A Durable Object outlives its callers, and so would the call to the agent:
/// the command of a caller who has hung up would go on.
pub(crate) fn cancellable(request: &web_sys::Request, caller: &web_sys::AbortSignal) -> WorkerResult<web_sys::Request> {
    // The runtime hears a signal of this object's own; the caller's, given to the call directly, does nothing.
    let controller = web_sys::AbortController::new()?;
    let abort: Function = Reflect::get(&controller, &"abort".into())?.dyn_into()?;
    let hang_up = abort.bind1(&controller, &"the caller hung up".into());
    caller.add_event_listener_with_callback("abort", hang_up.unchecked_ref())?;
    let init = web_sys::RequestInit::new();
    init.set_signal(Some(&controller.signal()));
    Ok(web_sys::Request::new_with_request_and_init(request, &init)?)
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

/// The same request for another URL: same method, headers and body stream, the headers open to change.
pub(crate) fn redirect(request: &Request, url: &str) -> WorkerResult<web_sys::Request> {
    // The runtime takes a request wherever it takes a request's init.
    Ok(web_sys::Request::new_with_str_and_init(url, request.inner().unchecked_ref::<web_sys::RequestInit>())?)
}
