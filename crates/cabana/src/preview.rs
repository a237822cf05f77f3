//! Previews: what a program in a sandbox serves on a port, under a host of its own.
//!
//! `https://<port>-<id>-<key>.<domain>/…`, where the domain is the Worker's variable `CABANA_PREVIEW_DOMAIN`. The key is a token, or the word
//! `public` or `private`. Which request is whose, the host alone decides: a preview's host never reaches the API, nor the API's a
//! preview.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `host` | whom a request is for |
//! | `label` | port, id and key in one label of a host |
//! | `port` | ports that may be reached |
//! | `admission` | who is let in to a private preview |
//! | `rules` | what passes between visitor and program, header by header |
//! | `visit` | what the Worker tells the Durable Object |
//! | `page` | what a visitor is told in place of a program's answer |

mod admission;
mod host;
mod label;
pub(crate) mod page;
mod port;
mod rules;
pub(crate) mod visit;

use cabana_protocol::{Access, Code, Error};
use js_sys::Reflect;
use worker::{Date, Env, Headers, Request, Response, Url, url::Position};

use self::{
    admission::{Proof, Visitor, bearer, exchange},
    visit::Visit,
};
use crate::{
    Handle, Principal, RequestId, log, request_id, token,
    wire::{ORIGIN, redirect},
};

pub use self::{
    host::{Domain, Host, Hosts},
    label::{Key, Label, Token},
    port::Port,
};

/// What a page tells other sites of its own URL.
const REFERRER_POLICY: &str = "referrer-policy";

/// What a visit amounts to, for scopes.
pub(crate) const OPERATION: &str = "port.proxy";

/// Answers a request for a preview; gives back one that is for the API, which is to be answered next.
///
/// `authenticate` finds out who brings a token, for private previews; it fails with `unauthorized` where the token is nobody's.
///
/// Whatever the program answers passes as it is: redirects, errors, streams, WebSockets. What is not there for the visitor (no such sandbox
/// or port, another token, expired, another tenant's) has one and the same answer, `not_found`. Requests whose host is nobody's name for
/// this deployment are `forbidden`, against names that were made to point here, and so is what pages of previews ask of the API.
pub async fn proxy_to_preview(
    request: Request,
    env: &Env,
    binding: &str,
    request_id: &RequestId,
    authenticate: impl AsyncFn(&str) -> Result<Principal, Error>,
) -> Result<Response, Request> {
    let outcome = match find(&request, env) {
        Ok((Host::Api, ..)) => return Err(request),
        Ok((Host::Preview(label), hosts, url)) => {
            let call = Call { request: &request, url: &url, domain: hosts.previews(), request_id };
            answer(&call, env, binding, label, &authenticate).await
        }
        Ok((Host::Nobody, ..)) => Err(page::nobody()),
        Ok((Host::Foreign, ..)) => Err(Error::new(Code::Forbidden, "this host is not served here")),
        Err(error) => Err(error),
    };
    let accept = || request.headers().get("accept").ok().flatten();
    Ok(outcome.unwrap_or_else(|error| page::error(&error, accept().as_deref(), request_id)))
}

/// Whom the request is for. Fails with `forbidden` where it is for the API and comes from a preview's page.
fn find(request: &Request, env: &Env) -> Result<(Host, Hosts, Url), Error> {
    let hosts = Hosts::read(env)?;
    let url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
    let host = hosts.find(url.host_str().unwrap_or_default());
    let origin = request.headers().get("origin").ok().flatten();
    if host == Host::Api && origin.is_some_and(|origin| hosts.is_preview_origin(&origin)) {
        return Err(Error::new(Code::Forbidden, "the API does not answer pages of previews"));
    }
    Ok((host, hosts, url))
}

/// A visitor's request.
struct Call<'a> {
    request: &'a Request,
    url: &'a Url,
    domain: Option<&'a Domain>,
    request_id: &'a RequestId,
}

async fn answer(
    call: &Call<'_>,
    env: &Env,
    binding: &str,
    label: Label,
    authenticate: &impl AsyncFn(&str) -> Result<Principal, Error>,
) -> Result<Response, Error> {
    let Label { port, address, key } = label;
    let mut known = None;
    if key == Key::Private {
        let method = call.request.inner().method();
        let visitor = Visitor::of(&method, call.url, call.request.headers());
        let (principal, proof) = visitor.admit(authenticate).await?;
        principal.check(&Access { sandbox: Some(address.id()), operation: OPERATION, read_only: false })?;
        if let Proof::Query(token) = &proof
            && Visitor::is_exchanged(&method, call.request.headers())
        {
            return exchange(call.url, token, &principal, Date::now().as_millis(), call.request_id);
        }
        known = Some((principal, proof));
    }
    let visit = Visit { port, key: Some(key), host: authority(call.url) };
    let principal = known.as_ref().map_or_else(Principal::visitor, |(principal, _)| principal.clone());
    let handle = Handle::new(env, binding, address)?.acting_for(&principal);
    let response = handle.pass(outgoing(call, &visit, known.map(|(_, proof)| proof).as_ref())?).await?;
    Ok(confine(response, call.domain))
}

/// The request for the Durable Object, without what was ours.
fn outgoing(call: &Call<'_>, visit: &Visit, proof: Option<&Proof>) -> Result<Request, Error> {
    let left = match (call.url.query(), proof) {
        (Some(query), Some(Proof::Query(_))) => Some(token::strip_query(query)),
        (Some(query), _) if token::in_query(query).iter().any(|token| token::is_marked(token)) => {
            Some(token::strip_marked(query))
        }
        _ => None,
    };
    let query = match left.as_deref() {
        None => call.url[Position::AfterPath..Position::AfterQuery].to_owned(),
        Some("") => String::new(),
        Some(left) => format!("?{left}"),
    };
    let path = &call.url[Position::BeforePath..Position::AfterPath];
    let outgoing = redirect(call.request, &format!("{ORIGIN}{}{path}{query}", visit::PATH)).map_err(unsuitable)?;
    let headers = Headers(outgoing.headers());
    prepare(&headers, call.request, call.url, visit, None).map_err(unsuitable)?;
    if let Some(left) = headers.get("cookie").map_err(unsuitable)?.map(|cookies| rules::strip_cookies(&cookies)) {
        set_or_delete(&headers, "cookie", left.as_deref()).map_err(unsuitable)?;
    }
    let authorization = headers.get("authorization").map_err(unsuitable)?;
    let is_marked = authorization.as_deref().and_then(bearer).is_some_and(|token| token::is_marked(&token));
    if is_marked || proof == Some(&Proof::Authorization) {
        headers.delete("authorization").map_err(unsuitable)?;
    }
    headers.set(request_id::HEADER, call.request_id.as_str()).map_err(unsuitable)?;
    Ok(outgoing.into())
}

/// A visit by the API's path `…/ports/{port}/proxy/…`, whose `prefix` stands before the program's own path: the URL for the Durable Object.
/// Of a caller whose credential is in a header, a token in the query is the program's own, unless it is marked as ours.
pub(crate) fn url_by_path(rest: &str, query: Option<&str>, authorized_by_header: bool) -> String {
    let strip = if authorized_by_header { token::strip_marked } else { token::strip_query };
    let query = query.map(strip).filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
    format!("{ORIGIN}{}/{rest}{}", visit::PATH, query.unwrap_or_default())
}

/// A visit by code of the Worker: all of the request is for the program.
pub(crate) fn visit_by_code(request: &Request, port: Port) -> Result<Request, Error> {
    let url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let outgoing = redirect(request, &format!("{ORIGIN}{}{path}", visit::PATH)).map_err(unsuitable)?;
    let visit = Visit { port, key: None, host: authority(&url) };
    prepare(&Headers(outgoing.headers()), request, &url, &visit, None).map_err(unsuitable)?;
    Ok(outgoing.into())
}

/// The headers of a visit by path.
pub(crate) fn prepare_by_path(headers: &Headers, request: &Request, url: &Url, port: Port, prefix: &str) -> Result<(), Error> {
    let visit = Visit { port, key: None, host: authority(url) };
    prepare(headers, request, url, &visit, Some(prefix)).map_err(unsuitable)
}

/// A program's answer to a visit by path, under the API's own origin: it sets no cookies there, and a browser that shows it as a page gives
/// that an origin of its own.
pub(crate) fn isolate(response: Response) -> Response {
    let headers = response.headers().clone();
    let edited = headers.delete("set-cookie").and_then(|()| headers.append("content-security-policy", "sandbox"));
    if let Err(error) = edited {
        log::warn(None, &format!("the headers of a visit were refused: {error}"));
    }
    response.with_headers(headers)
}

/// Takes out what the visitor may not say, and says where the request comes from.
fn prepare(headers: &Headers, request: &Request, url: &Url, visit: &Visit, prefix: Option<&str>) -> worker::Result<()> {
    // Cloudflare's word for the visitor's address, which no visitor can set.
    let address = headers.get("cf-connecting-ip")?;
    for name in headers.keys().filter(|name| rules::is_kept_back(name)).collect::<Vec<_>>() {
        headers.delete(&name)?;
    }
    if let Some(left) = headers.get(token::SUBPROTOCOL_HEADER)?.map(|offered| token::strip_subprotocols(&offered)) {
        set_or_delete(headers, token::SUBPROTOCOL_HEADER, left.as_deref())?;
    }
    if let Some(encodings) = visitors_encodings(request)? {
        set_or_delete(headers, "accept-encoding", Some(encodings.as_str()).filter(|encodings| !encodings.is_empty()))?;
    }
    set_or_delete(headers, "x-forwarded-for", address.as_deref())?;
    set_or_delete(headers, "x-forwarded-prefix", prefix)?;
    headers.set("x-forwarded-host", &visit.host)?;
    headers.set("x-forwarded-proto", url.scheme())?;
    headers.set(visit::HEADER, &visit.encode().map_err(|error| worker::Error::RustError(error.message))?)
}

/// Which encodings of an answer the visitor takes; empty where the visitor names none. The platform replaces the field `Accept-Encoding` by what it
/// takes itself, and keeps the visitor's own apart: a program must not be asked for what the visitor did not ask for. `None`: the field is the
/// visitor's own.
fn visitors_encodings(request: &Request) -> worker::Result<Option<String>> {
    let platform = Reflect::get(request.inner(), &"cf".into())?;
    if !platform.is_object() {
        return Ok(None);
    }
    Ok(Reflect::get(&platform, &"clientAcceptEncoding".into())?.as_string())
}

/// The program's answer. Its cookies are for this host, and other sites are not told its URL, in which a token may stand: pages name
/// where they are in `Referer` to everything they load, unless the program says otherwise.
fn confine(response: Response, domain: Option<&Domain>) -> Response {
    let cookies = response.headers().get_all("set-cookie").unwrap_or_default();
    let confined: Vec<_> = cookies.iter().filter_map(|cookie| rules::confine(cookie, domain)).collect();
    let is_silent = response.status_code() != 101 && !response.headers().has(REFERRER_POLICY).unwrap_or_default();
    if confined == cookies && !is_silent {
        return response;
    }
    let headers = response.headers().clone();
    let replace = || {
        headers.delete("set-cookie")?;
        confined.iter().try_for_each(|cookie| headers.append("set-cookie", cookie))?;
        if is_silent { headers.set(REFERRER_POLICY, "same-origin") } else { Ok(()) }
    };
    if let Err(error) = replace() {
        log::warn(None, &format!("a header of a preview was refused: {error}"));
    }
    response.with_headers(headers)
}

fn set_or_delete(headers: &Headers, name: &str, value: Option<&str>) -> worker::Result<()> {
    match value {
        Some(value) => headers.set(name, value),
        None => headers.delete(name),
    }
}

/// Host and port as the URL names them.
fn authority(url: &Url) -> String {
    url[Position::BeforeHost..Position::AfterPort].to_owned()
}

fn unsuitable(error: worker::Error) -> Error {
    Error::internal(format!("the visit cannot be passed on: {error}"))
}
