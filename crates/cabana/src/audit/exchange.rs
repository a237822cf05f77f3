//! A request of HTTP and its answer, from the trail's point of view. Bodies are counted at most, and never read.

use std::{cell::Cell, rc::Rc};

use cabana_protocol::{
    Code, Error, Tenant, Untyped,
    audit::{CODE_HEADER, Course, Outcome, RECEIVED_HEADER, SUMMARY_HEADER},
    header,
};
use worker::{
    Headers, Method, Request, Response, ResponseBody,
    wasm_bindgen::JsValue,
    web_sys::{self, AbortSignal, ReadableStream, RequestInit},
};

use super::{
    Audit,
    entry::{Asked, Entry},
    meter::meter,
};
use crate::{
    Principal, RequestId,
    clock::now,
    lifecycle::Instant,
    preview::visit::PATH as VISIT_PATH,
    principal::OPERATION_HEADER,
    reply,
    wire::{CONTROL_PATH, NETWORK_PATH, PORTS_PATH, SOCKETS},
};

/// The byte lanes of the agent.
const LANES: [&str; 2] = ["/v1/files", "/v1/archive"];

/// A request that is being answered.
pub(crate) struct Exchange {
    audit: Rc<Audit>,
    principal: Principal,
    operation: String,
    request_id: RequestId,
    /// As announced, or as many as have come.
    bytes_in: Rc<Cell<u64>>,
    caller: AbortSignal,
    /// `None` as long as there is no sandbox, and for what leaves no entry.
    entry: Option<Entry>,
    quiet: bool,
    at: Instant,
}

impl Exchange {
    /// A request that has come just now, and how it goes on: what does not say how long it is, is counted as it is read. An upload is not: that
    /// would take ten times as long as to pass it on, and the agent says how much has come.
    pub(crate) fn begin(
        audit: &Rc<Audit>,
        owner: Option<&Tenant>,
        request: Request,
        principal: &Principal,
        request_id: &RequestId,
    ) -> (Self, Request) {
        let path = request.path();
        let looks = matches!(request.method(), Method::Get | Method::Head);
        let exchange = Self {
            audit: Rc::clone(audit),
            principal: principal.clone(),
            operation: operation(&request, &path),
            request_id: request_id.clone(),
            bytes_in: Rc::new(Cell::new(length(request.headers()).unwrap_or(0))),
            caller: request.inner().signal(),
            entry: None,
            quiet: leaves_no_entry(&path, looks),
            at: now(),
        };
        let entry = exchange.entry(owner);
        let request = if entry.is_some() && !LANES.contains(&&*path) { exchange.counted(request) } else { request };
        (Self { entry, ..exchange }, request)
    }

    fn counted(&self, request: Request) -> Request {
        match request.inner().body() {
            Some(body) if length(request.headers()).is_none() => {
                let body = meter(body, Rc::clone(&self.bytes_in), self.caller.clone(), |_| {});
                with_body(&request, &body, &self.caller).unwrap_or(request)
            }
            _ => request,
        }
    }

    /// The answer, which goes on to the caller without what was meant for the trail. `owner` is whose the sandbox is now; `written` is told
    /// when an answer of known length has been entered, and `hung_up` when the caller has gone before it had all of the answer.
    pub(crate) fn finish(
        mut self,
        answer: Result<Response, Error>,
        owner: Option<&Tenant>,
        written: impl FnOnce() + 'static,
        hung_up: impl FnOnce() + Unpin + 'static,
    ) -> Response {
        // A sandbox that was made by this request is there now.
        self.entry = self.entry.take().or_else(|| self.entry(owner));
        match answer {
            Ok(response) => self.answered(response, written, hung_up),
            Err(error) => {
                let outcome = if self.caller.aborted() {
                    hung_up();
                    Outcome::Taken(Course::Cut)
                } else {
                    Outcome::Failed(error.code)
                };
                let response = reply::error(&error, &self.request_id);
                self.whole(&response, outcome, written);
                response
            }
        }
    }

    fn answered(
        &self,
        mut response: Response,
        written: impl FnOnce() + 'static,
        hung_up: impl FnOnce() + Unpin + 'static,
    ) -> Response {
        let summary = take(&mut response, SUMMARY_HEADER).and_then(|summary| header::decode::<String>(&summary).ok());
        if let Some(received) = take(&mut response, RECEIVED_HEADER).and_then(|received| received.parse().ok()) {
            self.bytes_in.set(received);
        }
        let code =
            take(&mut response, CODE_HEADER).and_then(|code| Untyped::from(serde_json::Value::from(code)).read::<Code>().ok());
        let Some(entry) = &self.entry else { return response };
        entry.note(None, summary);
        let status = response.status_code();
        if status >= 400 {
            self.whole(&response, Outcome::Failed(code.unwrap_or_else(|| Code::of_status(status))), written);
            return response;
        }
        match response.body() {
            ResponseBody::Stream(_) if length(response.headers()).is_none() && status != 101 => {
                self.stream(entry, response, hung_up)
            }
            _ => {
                self.whole(&response, Outcome::OK, written);
                response
            }
        }
    }

    /// Notes an answer whose length is known. It goes out before that is written.
    fn whole(&self, response: &Response, outcome: Outcome, written: impl FnOnce() + 'static) {
        let Some(entry) = self.entry.clone() else { return };
        let bytes_out = match response.body() {
            ResponseBody::Empty => None,
            ResponseBody::Body(bytes) => Some(bytes.len() as u64),
            ResponseBody::Stream(_) => length(response.headers()),
        };
        entry.note(Some(response.status_code()), None);
        entry.count(Some(self.bytes_in.get()), bytes_out);
        let ended = entry.clone();
        entry.stop_clock();
        entry.defer(move || {
            ended.end(outcome);
            written();
        });
    }

    /// Has the answer counted on its way, and its end noted.
    fn stream(&self, entry: &Entry, response: Response, hung_up: impl FnOnce() + Unpin + 'static) -> Response {
        let entry = entry.clone();
        entry.note(Some(response.status_code()), None);
        let (bytes_in, bytes_out) = (Rc::clone(&self.bytes_in), Rc::new(Cell::new(0)));
        let (head, body) = response.into_parts();
        entry.open_deferred();
        head.body(match body {
            ResponseBody::Stream(stream) => {
                ResponseBody::Stream(meter(stream, Rc::clone(&bytes_out), self.caller.clone(), move |course| {
                    entry.count(Some(bytes_in.get()), Some(bytes_out.get()));
                    entry.end(Outcome::Taken(course));
                    if course == Course::Cut {
                        hung_up();
                    }
                }))
            }
            other => other,
        })
    }

    fn entry(&self, owner: Option<&Tenant>) -> Option<Entry> {
        let Self { principal, operation, request_id, at, .. } = self;
        (!self.quiet)
            .then(|| self.audit.enter(owner, &Asked { principal, operation, request_id: request_id.as_str(), at: *at }))?
    }
}

/// What only looks, and is answered by the object itself: who watches a sandbox would fill its trail. What visitors of a program in it ask,
/// who may be anybody. What the gateway itself has the object do.
fn leaves_no_entry(path: &str, looks: bool) -> bool {
    let below = |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    looks && (below(CONTROL_PATH) || below(PORTS_PATH))
        || below(VISIT_PATH)
        || path.strip_prefix(CONTROL_PATH) == Some(SOCKETS)
        || path == NETWORK_PATH
}

/// What the request amounts to, in the words of the gateway; code of the Worker itself names an operation by its path alone.
fn operation(request: &Request, path: &str) -> String {
    let said = request.headers().get(OPERATION_HEADER).ok().flatten();
    said.unwrap_or_else(|| match (request.method(), path) {
        (Method::Post, CONTROL_PATH) => "sandbox.create".to_owned(),
        (Method::Delete, CONTROL_PATH) => "sandbox.delete".to_owned(),
        (Method::Patch, CONTROL_PATH) => "sandbox.update".to_owned(),
        _ => path.trim_start_matches("/v1").trim_matches('/').replace('/', "."),
    })
}

fn length(headers: &Headers) -> Option<u64> {
    headers.get("content-length").ok().flatten()?.parse().ok()
}

/// The same request with this body.
fn with_body(request: &Request, body: &ReadableStream, caller: &AbortSignal) -> Result<Request, JsValue> {
    let init = RequestInit::new();
    init.set_body(body);
    init.set_signal(Some(caller));
    web_sys::Request::new_with_request_and_init(request.inner(), &init).map(Request::from)
}

/// Takes a header off.
fn take(response: &mut Response, name: &str) -> Option<String> {
    let value = response.headers().get(name).ok().flatten()?;
    // The headers of an answer of the agent are a copy already, which can be changed.
    response.headers_mut().delete(name).ok();
    Some(value)
}
