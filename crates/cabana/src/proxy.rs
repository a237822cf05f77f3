//! The whole `/v1/sandboxes` API as one function.

mod create;

use cabana_protocol::{
    Error, SandboxId,
    audit::{CODE_HEADER, Outcome},
    names::check_parameters,
    sandbox::UpdateSandbox,
};
use worker::{Context, Env, Headers, Method, Request, Response, Url, wasm_bindgen::JsValue};

use crate::{
    Address, Handle, Principal, RequestId,
    create::MAX_BODY_BYTES,
    directory::Directory,
    log,
    origins::Page,
    preview, principal, reply,
    request::{decode, read_body},
    request_id,
    route::Route,
    token,
    wire::{self, CONTROL_PATH, ORIGIN, PORTS_PATH, REFUSED_PATH, redirect},
};

/// Headers between the caller and the runtime. `Expect` is answered by the runtime; an agent that answered it a second time would
/// end the exchange with a 100 that the runtime takes for its outcome.
const HOP_HEADERS: [&str; 1] = ["expect"];

/// Answers a request of `principal` to the sandbox API, through the Durable Object binding of that name.
///
/// | request | answer |
/// | --- | --- |
/// | `POST /v1/sandboxes` | makes a sandbox: 201; finds it, by its name, as it is: 200 |
/// | `GET /v1/sandboxes` | lists them, by filters and pages, see [`ListSandboxes`](cabana_protocol::sandbox::ListSandboxes) |
/// | `GET /v1/sandboxes/{id}` | shows it, without waking it |
/// | `PATCH /v1/sandboxes/{id}` | changes what it was made with |
/// | `DELETE /v1/sandboxes/{id}` | ends and forgets it: 204, also where there is none |
/// | `POST /v1/sandboxes/{id}/start`, `…/stop`, `…/restart` | does that, and shows it |
/// | `GET`, `POST /v1/sandboxes/{id}/snapshots`, `GET`, `DELETE …/snapshots/{snapshot}`, `POST …/restore` | its files as they were |
/// | `POST /v1/sandboxes/{id}/fork` | makes sandboxes that begin with its files |
/// | `GET /v1/sandboxes/{id}/events` | what happened in its life |
/// | `GET /v1/sandboxes/{id}/audit`, `…/audit/verify` | what was asked of it, by whom; also after it was destroyed |
/// | `GET /v1/sandboxes/{id}/metrics` | what is measured of it |
/// | `GET /v1/sandboxes/{id}/network` | its network rules, and what they have done |
/// | `GET`, `POST /v1/sandboxes/{id}/ports`, `GET`, `DELETE …/ports/{port}` | which ports have a URL |
/// | anything on `/v1/sandboxes/{id}/ports/{port}/proxy/…` | what a program in it answers on that port; starts the container if it has to |
/// | anything else on `/v1/sandboxes/{id}/…` | what its agent answers; starts the container if it has to |
/// | `GET /v1/sandbox/{id}/connect` | the same as `/v1/sandboxes/{id}/connect` |
///
/// It does not ask who the caller is: that is the Worker's to do first; one that serves nobody but itself says
/// [`Principal::operator`]. What the principal's scopes do not allow is `forbidden`, and another tenant's sandbox is `not_found`. Credentials in the request (`Authorization`, cookies,
/// tokens of a WebSocket) go no further. Every answer has an `x-request-id`, the caller's where it is a sane one. Bodies are
/// streams in both directions and are never held; a WebSocket ends in the Durable Object. A web page of another host opens none, unless the
/// Worker's variable `CABANA_ALLOWED_ORIGINS` names its origin: `forbidden`.
///
/// What the principal's scopes do not allow is entered in the sandbox's audit, in the background.
pub async fn proxy_to_sandbox(request: Request, env: &Env, context: &Context, binding: &str, principal: &Principal) -> Response {
    let request_id = RequestId::of(request.headers());
    match answer(request, env, context, binding, principal, &request_id).await {
        Ok(response) => response,
        Err(error) => reply::error(&error, &request_id),
    }
}

/// Where a request comes from, which goes with it to the Durable Object.
struct Origin<'a> {
    principal: &'a Principal,
    request_id: &'a RequestId,
    /// What the request amounts to, see [`Access`].
    operation: &'a str,
}

async fn answer(
    request: Request,
    env: &Env,
    context: &Context,
    binding: &str,
    principal: &Principal,
    request_id: &RequestId,
) -> Result<Response, Error> {
    // The parsed URL: dot segments, encoded ones too, are gone from its path.
    let url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
    // As it came: workers-rs takes every method that it does not know for GET.
    let method = request.inner().method();
    let route = Route::parse(&method, url.path())?;
    if let Some(known) = route.parameters() {
        let names = url.query_pairs().map(|(name, _)| name).filter(|name| name != token::QUERY_PARAMETER);
        check_parameters(names, known)?;
    }
    if request.headers().has("upgrade").unwrap_or(true) {
        Page::of(&request, &url, env).check()?;
    }
    let operation = route.access(&method, |access| access.operation.to_owned());
    let origin = &Origin { principal, request_id, operation: &operation };
    let allowed = route.access(&method, |access| match route {
        // What is created, and what is listed, is asked about below.
        Route::Create | Route::List => principal.check_operation(access),
        _ => principal.check(access),
    });
    let handle =
        |id: SandboxId| Handle::new(env, binding, Address::new(id, &principal.tenant)).map(|handle| handle.acting_for(principal));
    if let Err(error) = allowed {
        if let Some(id) = route.sandbox() {
            report(handle(id.clone())?, context, &error, origin)?;
        }
        return Err(error);
    }
    match route {
        Route::List => list(&url, env, origin).await,
        Route::Update(id) => update(request, handle(id)?, origin).await,
        Route::Create => create::create(request, env, context, binding, origin).await,
        Route::Info(id) => control(handle(id)?, Method::Get, origin).await,
        Route::Destroy(id) => control(handle(id)?, Method::Delete, origin).await,
        Route::Control { id, action: "fork" } => create::fork(request, env, handle(id)?, binding, origin).await,
        Route::Snapshot { id, snapshot, restores } => {
            let target = url_of(CONTROL_PATH, &format!("snapshots/{snapshot}{}", if restores { "/restore" } else { "" }), None);
            pass(handle(id)?, &request, &target, origin).await
        }
        Route::Archive { id, archive, restores } => {
            let target = url_of(CONTROL_PATH, &format!("archives/{archive}{}", if restores { "/restore" } else { "" }), None);
            pass(handle(id)?, &request, &target, origin).await
        }
        Route::Control { id, action } => {
            let target = url_of(CONTROL_PATH, action, url.query());
            pass(handle(id)?, &request, &target, origin).await
        }
        Route::Ports(id) => pass(handle(id)?, &request, &format!("{ORIGIN}{PORTS_PATH}"), origin).await,
        Route::Port(id, port) => pass(handle(id)?, &request, &format!("{ORIGIN}{PORTS_PATH}/{port}"), origin).await,
        Route::Proxy { id, port, rest } => {
            let prefix = format!("/v1/sandboxes/{id}/ports/{port}/proxy");
            let edit = |headers: &Headers| preview::prepare_by_path(headers, &request, &url, port, &prefix);
            let authorized_by_header = request.headers().has("authorization").unwrap_or(false);
            let target = preview::url_by_path(rest, url.query(), authorized_by_header);
            forward(handle(id)?, &request, &target, origin, edit).await.map(preview::isolate)
        }
        Route::Agent { id, rest } => {
            let target = url_of("/v1", rest, url.query());
            pass(handle(id)?, &request, &target, origin).await
        }
    }
}

/// A client's socket, which code of the Worker hands over.
pub(crate) async fn connect(handle: &Handle, request: &Request) -> Result<Response, Error> {
    let url = request.url().map_err(|_| Error::invalid_request("the URL cannot be parsed"))?;
    let request_id = RequestId::of(request.headers());
    let origin = Origin { principal: handle.principal(), request_id: &request_id, operation: "connect" };
    forward(handle.clone(), request, &url_of("/v1", "connect", url.query()), &origin, |_| Ok(())).await
}

/// Has the object enter a refusal, while the caller has its answer.
fn report(handle: Handle, context: &Context, error: &Error, origin: &Origin<'_>) -> Result<(), Error> {
    let request = named(wire::request(Method::Post, REFUSED_PATH, None::<&()>)?, origin)?;
    request.headers().set(CODE_HEADER, &Outcome::Failed(error.code).to_string()).map_err(internal)?;
    context.wait_until(async move {
        if let Err(error) = handle.pass(request).await {
            log::error(None, &error.message);
        }
    });
    Ok(())
}

async fn list(url: &Url, env: &Env, origin: &Origin<'_>) -> Result<Response, Error> {
    let sandboxes = Directory::get(env)?.list(url.query(), origin.principal).await?;
    Ok(reply::json(200, &sandboxes, origin.request_id))
}

async fn update(mut request: Request, handle: Handle, origin: &Origin<'_>) -> Result<Response, Error> {
    let body: UpdateSandbox = decode(&read_body(&mut request, MAX_BODY_BYTES).await?)?;
    let request = wire::request(Method::Patch, CONTROL_PATH, Some(&body))?;
    handle.pass(named(request, origin)?).await
}

async fn control(handle: Handle, method: Method, origin: &Origin<'_>) -> Result<Response, Error> {
    let request = wire::request(method, CONTROL_PATH, None::<&()>)?;
    handle.pass(named(request, origin)?).await
}

async fn pass(handle: Handle, request: &Request, target: &str, origin: &Origin<'_>) -> Result<Response, Error> {
    forward(handle, request, target, origin, |_| Ok(())).await
}

async fn forward(
    handle: Handle,
    request: &Request,
    target: &str,
    origin: &Origin<'_>,
    edit: impl FnOnce(&Headers) -> Result<(), Error>,
) -> Result<Response, Error> {
    let offered = request.headers().get(token::SUBPROTOCOL_HEADER).map_err(internal)?;
    let outgoing = redirect(request, target).map_err(internal)?;
    let headers = outgoing.headers();
    for name in token::CREDENTIAL_HEADERS.into_iter().chain(HOP_HEADERS) {
        headers.delete(name).map_err(thrown)?;
    }
    match offered.as_deref().map(token::strip_subprotocols) {
        Some(Some(left)) => headers.set(token::SUBPROTOCOL_HEADER, &left).map_err(thrown)?,
        Some(None) => headers.delete(token::SUBPROTOCOL_HEADER).map_err(thrown)?,
        None => {}
    }
    edit(&Headers(outgoing.headers()))?;
    let response = handle.reach(named(outgoing.into(), origin)?).await?;
    Ok(choose_subprotocol(response, offered.as_deref()))
}

/// Sees to it that a client which offered its token as a subprotocol gets the choice that it must get, see [`token::answer_to`].
fn choose_subprotocol(response: Response, offered: Option<&str>) -> Response {
    let chosen = response.headers().has(token::SUBPROTOCOL_HEADER).unwrap_or(false);
    match offered.and_then(token::answer_to) {
        Some(answer) if response.status_code() == 101 && !chosen => {
            reply::with_header(response, token::SUBPROTOCOL_HEADER, answer)
        }
        _ => response,
    }
}

/// Where the object finds what is passed on; a token in the query stays behind.
fn url_of(base: &str, rest: &str, query: Option<&str>) -> String {
    let slash = if rest.is_empty() { "" } else { "/" };
    match query.map(token::strip_query).filter(|query| !query.is_empty()) {
        Some(query) => format!("{ORIGIN}{base}{slash}{rest}?{query}"),
        None => format!("{ORIGIN}{base}{slash}{rest}"),
    }
}

fn named(request: Request, origin: &Origin<'_>) -> Result<Request, Error> {
    request.headers().set(request_id::HEADER, origin.request_id.as_str()).map_err(internal)?;
    request.headers().set(principal::OPERATION_HEADER, origin.operation).map_err(internal)?;
    Ok(request)
}

fn internal(error: worker::Error) -> Error {
    Error::internal(format!("the request cannot be passed on: {error}"))
}

fn thrown(error: JsValue) -> Error {
    internal(worker::Error::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_url_keeps_path_and_query_but_no_token() {
        for (rest, query, url) in [
            ("exec", None, "http://sandbox/v1/exec"),
            ("files", Some("path=%2Fa%20b"), "http://sandbox/v1/files?path=%2Fa%20b"),
            ("connect", Some("token=k"), "http://sandbox/v1/connect"),
            ("connect", Some("token=k&binary=1"), "http://sandbox/v1/connect?binary=1"),
        ] {
            assert_eq!(url_of("/v1", rest, query), url);
        }
    }
}
