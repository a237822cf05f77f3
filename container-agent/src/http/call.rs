//! `POST /v1/<family>/<verb>`: any operation, in the form that the client accepts. One that only looks is answered to `GET`, too; its
//! request is then the query. So it is where the body is what a command reads.

mod form;
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::http) mod fuzz;

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use cabana_protocol::{
    Code, Error, call,
    names::check_parameters,
    raw::{PROCESS_HEADER, RESULT_TRAILER},
    table,
};
use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::json;
use tokio::time::timeout;

use super::{
    answer::{self, ErrorResponse},
    method_not_allowed,
};
use crate::{
    Agent, body,
    caller::Caller,
    dispatch::{self, Conversation, Entry, InputBody, Pending, RawOutput, RawRequest, RawResponse},
    memory::Held,
};
use form::Form;

/// How long an operation may be silent before the connection is shown to be alive.
const HEARTBEAT: Duration = Duration::from_secs(5);

pub(super) async fn call(State(agent): State<Agent>, path: Result<Path<String>, PathRejection>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A name that is not text is no operation's.
    let path = path.map(|Path(path)| path).unwrap_or_default();
    let mut about = String::new();
    let answered = answer(agent, &path, &parts, body, &mut about).await;
    let response = answered.map_err(|error| ErrorResponse::new(&parts.headers, error)).into_response();
    answer::with_summary(response, &about)
}

async fn answer(agent: Agent, path: &str, parts: &Parts, body: Body, about: &mut String) -> Result<Response, Error> {
    let (entry, query) = match find(path, parts) {
        Ok(found) => found,
        Err(error) => {
            answer::linger(body.into_data_stream()).await;
            return Err(error);
        }
    };
    let headers = &parts.headers;
    let ((request, held), body) = if feeds(parts) {
        let pieces = body.into_data_stream().map_err(|error| Error::invalid_request(format!("the body ended early: {error}")));
        ((Bytes::new(), agent.memory.account()), Some(InputBody::new(pieces)))
    } else {
        (read(&agent, body).await?, None)
    };
    let name = headers.get(call::HEADER).and_then(|name| name.to_str().ok());
    let caller = name.map_or_else(Caller::default, |name| agent.calls.register(name));
    let raw = RawRequest { query, body, caller: caller.clone(), ..RawRequest::from(&*request) };
    let (operation, form) = match entry {
        Entry::Call(operation) => (operation, Form::Json),
        Entry::Stream { fold, raw, .. } => (fold, Form::accepted(headers, raw)),
    };
    match entry {
        Entry::Stream { start, .. } if form != Form::Json => {
            let conversation = start(agent, raw, form.position(headers)?, form.encoding(), about)?;
            drop(request);
            streamed(conversation, form, held, &caller).await
        }
        _ => {
            let pending = operation(agent, raw, false, about)?;
            drop(request);
            whole(pending, held, headers, &caller).await
        }
    }
}

/// Whether the body is what the operation reads, and its request the query.
fn feeds(parts: &Parts) -> bool {
    let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    parts.method == Method::POST && essence.eq_ignore_ascii_case("application/octet-stream")
}

/// The operation of a path, and the query that is its request, where it comes as one.
///
/// Fails with `not_found`, `method_not_allowed` and `invalid_request`.
fn find<'a>(path: &str, parts: &'a Parts) -> Result<(Entry, Option<&'a str>), Error> {
    let name = path.trim_end_matches('/').replace('/', ".");
    let entry = dispatch::find(&name)?;
    let query = parts.uri.query().unwrap_or_default();
    let looks = table::find(&name).is_some_and(|operation| operation.read_only);
    match parts.method {
        Method::POST if feeds(parts) => Ok((entry, Some(query))),
        Method::POST => {
            let names = dispatch::query_pairs(query).map(|(name, _)| String::from_utf8_lossy(&name).into_owned());
            check_parameters(names, &[])?;
            Ok((entry, None))
        }
        Method::GET | Method::HEAD if looks => Ok((entry, Some(query))),
        _ => {
            let allowed: &[&str] = if looks { &["GET", "HEAD", "POST"] } else { &["POST"] };
            Err(method_not_allowed(&parts.method, parts.uri.path(), allowed))
        }
    }
}

/// The whole body, up to the limit, and the account of its memory.
async fn read(agent: &Agent, body: Body) -> Result<(Bytes, Held), Error> {
    let (limit, announced) = (agent.limits.request_bytes, body.size_hint().exact());
    let mut pieces = body.into_data_stream();
    let (mut whole, mut held) = (BytesMut::new(), agent.memory.account());
    if let Some(length) = announced.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= limit) {
        if let Err(error) = held.resize(length) {
            answer::linger(pieces).await;
            return Err(error);
        }
        whole.reserve(length);
    }
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Error::invalid_request(format!("the request's body ended early: {error}")))?;
        let length = whole.len() + piece.len();
        let refused = if length > limit {
            let error = Error::new(Code::PayloadTooLarge, format!("the request's body is larger than {limit} bytes"));
            Some(error.with_details(json!({ "limit_bytes": limit })))
        } else {
            held.grow(length).err()
        };
        if let Some(error) = refused {
            answer::linger(pieces).await;
            return Err(error);
        }
        whole.extend_from_slice(&piece);
    }
    Ok((whole.freeze(), held))
}

/// One answer at the end. An operation may be silent for long. Some hops notice only by writing that the client is gone, and some take
/// silence for death: after a while the answer begins with spaces, which JSON allows. Its status is 200 then, so a failure after that is
/// the documented error object as the body. The process that runs by then is named by a header, so that a caller whose connection breaks
/// can return to it.
async fn whole(
    mut pending: Pending<Result<RawResponse, Error>>,
    request: Held,
    headers: &HeaderMap,
    caller: &Caller,
) -> Result<Response, Error> {
    if let Ok(answer) = timeout(HEARTBEAT, &mut pending).await {
        let RawResponse { line, held, .. } = answer?;
        return Ok(answer::json(line).map(|body| body::holding(body, held)));
    }
    let running = Running { pending, _request: request, request_id: answer::request_id(headers) };
    let blank = stream::once(async { Ok(Bytes::from_static(b" ")) });
    let pieces = stream::unfold(Ok(running), async |stage| {
        let mut running = stage.ok()?;
        Some(match timeout(HEARTBEAT, &mut running.pending).await {
            Ok(answer) => running.end(answer),
            Err(_) => (Ok::<_, Infallible>(Bytes::from_static(b" ")), Ok(running)),
        })
    });
    let response = answer::typed("application/json", Body::from_stream(blank.chain(pieces)));
    Ok(named(response, caller))
}

/// An operation that is answered late.
struct Running {
    pending: Pending<Result<RawResponse, Error>>,
    _request: Held,
    request_id: String,
}

impl Running {
    /// The last piece of the body, and the account of its memory, which is kept until the body has been sent.
    fn end(self, answer: Result<RawResponse, Error>) -> (Result<Bytes, Infallible>, Result<Self, Option<Held>>) {
        match answer {
            Ok(RawResponse { line, held, .. }) => (Ok(line), Err(Some(held))),
            Err(error) => (Ok(ErrorResponse::with_id(self.request_id, error).into_body()), Err(None)),
        }
    }
}

/// The output as it comes, and after silence something that means nothing. A client that goes away drops the body, and with it the
/// conversation.
///
/// Fails with what the operation fails with before its first output: there is a status left to say it by.
async fn streamed(conversation: Conversation, form: Form, request: Held, caller: &Caller) -> Result<Response, Error> {
    // HTTP has no way to send inputs to a running operation.
    let Conversation { mut output, .. } = conversation;
    let first = match timeout(HEARTBEAT, output.next()).await {
        Ok(Some(RawOutput::Error(error))) => return Err(error),
        Ok(first) => first,
        Err(_) => None,
    };
    let second = if form == Form::Raw && first.is_some() { at_once(&mut output).await } else { None };
    if let Some(RawOutput::Error(error)) = second {
        return Err(error);
    }
    let first = first.map(|first| form.frame(first)).or_else(|| form.heartbeat().map(|beat| Ok(Frame::data(beat))));
    let first = first.into_iter().chain(second.map(|second| form.frame(second)));
    let rest = stream::unfold(output, move |mut output| async move {
        loop {
            match timeout(HEARTBEAT, output.next()).await {
                Ok(piece) => return Some((form.frame(piece?), output)),
                Err(_) => match form.heartbeat() {
                    Some(beat) => return Some((Ok(Frame::data(beat)), output)),
                    None => continue,
                },
            }
        }
    });
    let body = Body::new(StreamBody::new(Box::pin(stream::iter(first).chain(rest))));
    let mut response = answer::typed(form.media_type(), body::holding(body, request));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if form == Form::Raw {
        response.headers_mut().insert(header::TRAILER, HeaderValue::from_static(RESULT_TRAILER));
    }
    Ok(named(response, caller))
}

/// What comes next, where that is there already: that output is missing can have a status, too, where it is the first thing to say.
async fn at_once(output: &mut (impl Stream<Item = RawOutput> + Unpin)) -> Option<RawOutput> {
    // The handler and the channel behind it want to be polled in turn.
    for _ in 0..4 {
        if let Some(next) = output.next().now_or_never() {
            return next;
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Names the process that runs for the caller, where one does.
fn named(mut response: Response, caller: &Caller) -> Response {
    let process = caller.process().and_then(|process| HeaderValue::from_str(process.as_str()).ok());
    response.headers_mut().extend(process.map(|process| (HeaderName::from_static(PROCESS_HEADER), process)));
    response
}
