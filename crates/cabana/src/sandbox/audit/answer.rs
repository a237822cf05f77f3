//! `GET /v1/sandboxes/{id}/audit` and `…/audit/verify`. They wake nothing, and answer for a sandbox that was destroyed, too.

use worker::{Request, Response, js_sys::Date};

use cabana_protocol::{Code, Error, audit::CODE_HEADER};

use super::{Audit, query::Query};
use crate::{Principal, RequestId, reply};

/// A page of the entries that the caller may see.
pub(in crate::sandbox) fn list(
    audit: &Audit,
    request: &Request,
    principal: &Principal,
    request_id: &RequestId,
) -> Result<Response, Error> {
    let url = request.url().map_err(|error| Error::internal(error.to_string()))?;
    let query = Query::of(url.query_pairs(), instant)?;
    Ok(reply::json(200, &audit.page(&query, principal)?, request_id))
}

/// Whether the trail is as it was written. What others did to a sandbox of the same name is checked with it, and not shown.
pub(in crate::sandbox) fn verify(audit: &Audit, request_id: &RequestId) -> Result<Response, Error> {
    Ok(reply::json(200, &audit.verify()?, request_id))
}

/// What the gateway has refused a request with, which becomes the outcome of its entry: what a caller may do within its tenant is decided
/// there.
pub(in crate::sandbox) fn refusal(request: &Request) -> Error {
    let code = request.headers().get(CODE_HEADER).ok().flatten();
    let code = code.and_then(|code| serde_json::from_value::<Code>(code.into()).ok()).unwrap_or(Code::Forbidden);
    Error::new(code, "refused by the gateway")
}

/// Milliseconds since 1970 of a time as RFC 3339 has it.
fn instant(text: &str) -> Option<u64> {
    // The runtime also takes `7` and `May 2026`, each in its own way.
    let (date, rest) = text.split_once(['T', 't'])?;
    let plausible = date.len() == 10 && (rest.ends_with(['Z', 'z']) || rest.contains(['+', '-']));
    let time = Date::parse(text);
    (plausible && time >= 0.0).then_some(time as u64)
}
