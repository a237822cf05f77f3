//! What the Worker and a sandbox's Durable Object agree on: addresses, headers, and how a request is handed on.
//!
//! Nothing outside can set these headers: the Worker replaces whatever arrives under their names.

use cabana_protocol::Error;
use js_sys::{Function, Reflect};
use serde::Serialize;
use worker::{
    Method, Request, RequestInit, Result as WorkerResult,
    wasm_bindgen::{JsCast, JsValue},
    web_sys,
};

/// The host of URLs between Worker, Durable Object and agent. It is never looked up.
pub(crate) const ORIGIN: &str = "http://sandbox";

/// The header by which an object learns the binding that leads to it.
pub(crate) const BINDING_HEADER: &str = "x-cabana-binding";

/// The header with what a sandbox is made with where there is none, as JSON: a caller in the Worker need not ask first.
pub(crate) const MAKING_HEADER: &str = "x-cabana-making";

/// The header that marks the creation of a fork: it has the settings of its origin.
pub(crate) const FORK_HEADER: &str = "x-cabana-fork";

/// Where the object answers for the sandbox itself: `POST` creates, `GET` describes, `PATCH` changes, `DELETE` destroys.
pub(crate) const CONTROL_PATH: &str = "/sandbox";

/// Where, below [`CONTROL_PATH`], the sockets of an API key are closed: `DELETE`, with its id as `key` in the query.
pub(crate) const SOCKETS: &str = "/sockets";

/// Where isolates report what became of the sandbox's requests.
pub(crate) const NETWORK_PATH: &str = "/sandbox/network";

/// Where a sandbox is set up for its project.
pub(crate) const SETUP_PATH: &str = "/sandbox/setup";

/// Where the gateway reports what it has refused.
pub(crate) const REFUSED_PATH: &str = "/sandbox/refused";

/// Where clients' sockets are accepted.
pub(crate) const CONNECT_PATH: &str = "/v1/connect";

/// Where the object answers for its ports: `POST` exposes, `GET` lists, and below it, `GET` and `DELETE` are about one.
pub(crate) const PORTS_PATH: &str = "/ports";

/// A request to an object, with a JSON body where there is one.
pub(crate) fn request(method: Method, path: &str, body: Option<&impl Serialize>) -> Result<Request, Error> {
    let mut init = RequestInit::new();
    init.with_method(method);
    if let Some(body) = body {
        let body = serde_json::to_string(body).map_err(|_| Error::invalid_request("the request cannot be encoded"))?;
        init.with_body(Some(JsValue::from_str(&body)));
    }
    Request::new_with_init(&format!("{ORIGIN}{path}"), &init).map_err(|error| Error::internal(error.to_string()))
}

/// The same request for another URL: same method, headers and body stream, the headers open to change.
pub(crate) fn redirect(request: &Request, url: &str) -> WorkerResult<web_sys::Request> {
    // The runtime takes a request wherever it takes a request's init.
    Ok(web_sys::Request::new_with_str_and_init(url, request.inner().unchecked_ref::<web_sys::RequestInit>())?)
}

/// The same request, cancelled when the caller's is. A Durable Object outlives its callers, and so would the call to the agent: the command
/// of a caller that has disconnected would run on.
pub(crate) fn cancellable(request: &web_sys::Request, caller: &web_sys::AbortSignal) -> WorkerResult<web_sys::Request> {
    // The runtime obeys a signal of this object's own; the caller's, given to the call directly, does nothing.
    let controller = web_sys::AbortController::new()?;
    let abort: Function = Reflect::get(&controller, &"abort".into())?.dyn_into()?;
    let cancel = abort.bind1(&controller, &"the caller disconnected".into());
    caller.add_event_listener_with_callback("abort", cancel.unchecked_ref())?;
    let init = web_sys::RequestInit::new();
    init.set_signal(Some(&controller.signal()));
    Ok(web_sys::Request::new_with_request_and_init(request, &init)?)
}
