//! `/v1/sandboxes/{id}/links`: links to one file, and requests that come by one.

use cabana::{Address, Code, Principal, Sandbox, SandboxId, route::parse_id};
use cabana_protocol::{
    Error,
    names::missing_field,
    token::{CreateLink, FileLink, LinkAction},
};
use worker::{Request, Response, Result as WorkerResult, Url, wasm_bindgen::JsCast, web_sys};

use crate::{
    BINDING,
    auth::{
        authority::Authority,
        link::{Grant, PARAMETER},
    },
    call::{Call, MAX_BODY_BYTES},
    key::lookup::Lookup,
    time,
};

/// `POST /v1/sandboxes/{id}/links`
pub async fn create(mut call: Call, id: &SandboxId) -> Result<Response, Error> {
    let body = cabana::request::read_body(&mut call.request, MAX_BODY_BYTES).await?;
    let request: CreateLink =
        if body.trim_ascii().is_empty() { return Err(missing_field("path")) } else { cabana_protocol::decode(&body)? };
    let authority = Authority::of(&call.env)?;
    // Whose the sandbox is, its object knows, and to others it says that there is none.
    let address = Address::new(id.clone(), &call.principal.tenant);
    let sandbox = Sandbox::at(&call.env, BINDING, address)?.acting_for(&call.principal).show().await?;
    let (path, action) = (request.path.clone(), request.action);
    let grant = Grant::new(request, id, &sandbox.tenant, &call.principal, time::now())?;
    let signature = authority.link_signer()?.sign(&grant)?;
    let mut url = call.url.clone();
    url.set_path(&format!("/v1/sandboxes/{id}/files"));
    url.query_pairs_mut().clear().append_pair("path", &path).append_pair(PARAMETER, &signature);
    let method = if action == LinkAction::Download { "GET" } else { "PUT" }.to_owned();
    Ok(call.json(201, &FileLink { url: url.into(), method, expires_at: time::format(grant.expires_at_ms()) }))
}

/// The caller of a request with a link, and the request without it; `None` for a request that has no link.
///
/// Fails with `unauthorized` where the link is not ours or has ended, and with `forbidden` where it is for something else.
pub async fn admit(request: &Request, url: &Url, lookup: Lookup<'_>) -> Result<Option<(Principal, Request)>, Error> {
    let segments: Vec<_> = url.path().trim_matches('/').split('/').collect();
    let ["v1", "sandboxes", id, "files"] = segments.as_slice() else { return Ok(None) };
    let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let Some(signature) = value(PARAMETER).filter(|_| !request.headers().has("authorization").unwrap_or(true)) else {
        return Ok(None);
    };
    let invalid = || Error::new(Code::Unauthorized, "this link is not valid, or has ended").because("link");
    let grant = Authority::of(lookup.env)?.link_signer()?.verify(&signature, time::now()).ok_or_else(invalid)?;
    let plain = url.query_pairs().all(|(name, _)| name == "path" || name == PARAMETER);
    let path = value("path").filter(|_| plain).unwrap_or_default();
    grant.check(&request.inner().method(), &parse_id(id)?, &path)?;
    if let Some(key) = grant.key() {
        lookup.check(key).await?;
    }
    let mut target = url.clone();
    target.query_pairs_mut().clear().append_pair("path", &path);
    if let Some(max_bytes) = grant.max_bytes() {
        target.query_pairs_mut().append_pair("max_bytes", &max_bytes.to_string());
    }
    let request = redirect(request, target.as_str()).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Some((grant.principal(), request)))
}

/// The same request for another URL: same method, headers and body stream.
fn redirect(request: &Request, url: &str) -> WorkerResult<Request> {
    // The runtime takes a request wherever it takes a request's init.
    Ok(web_sys::Request::new_with_str_and_init(url, request.inner().unchecked_ref::<web_sys::RequestInit>())?.into())
}
