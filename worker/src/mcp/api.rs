//! The API as the tools use it: each call is a request like any caller's, with its scopes, quotas and audit.

use cabana::{Principal, RequestId, SandboxId, proxy_to_sandbox, request_id};
use cabana_protocol::{Code, Error, decode_own, error::ErrorBody};
use serde_json::{Value, json};
use worker::{Context, Env, Headers, Method, Request, RequestInit};

use crate::BINDING;

/// The name of the sandbox that a caller gets who names none.
const DEFAULT_NAME: &str = "mcp";

/// The API on behalf of one caller.
#[allow(missing_debug_implementations)]
pub(super) struct Api<'a> {
    pub(super) env: &'a Env,
    pub(super) context: &'a Context,
    pub(super) principal: &'a Principal,
    pub(super) request_id: &'a RequestId,
    /// The sandbox that all tools are for, if they are for one.
    pub(super) only: Option<&'a SandboxId>,
}

impl Api<'_> {
    /// The sandbox that a call is for. A caller who names none has one by default, which is made when it is not there.
    ///
    /// Fails with `invalid_request` where the text is no id, or another sandbox's than the one that the tools are for.
    pub(super) fn target(&self, named: Option<&str>) -> Result<Target<'_>, Error> {
        let named: Option<SandboxId> = named.map(str::parse).transpose()?;
        match (self.only, named) {
            (Some(only), Some(named)) if *only != named => {
                Err(Error::invalid_request(format!("these tools are for the sandbox {only}: leave `sandbox` out")))
            }
            (Some(only), _) => Ok(Target { api: self, id: only.clone(), is_default: false }),
            (None, Some(id)) => Ok(Target { api: self, id, is_default: false }),
            (None, None) => Ok(Target { api: self, id: format!("sbx-{DEFAULT_NAME}").parse()?, is_default: true }),
        }
    }

    /// Sends a request, and reads its answer; one without content is null.
    ///
    /// Fails with the error that it is answered with.
    pub(super) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let failed = |error: worker::Error| Error::internal(format!("a tool's request: {error}"));
        let headers = Headers::new();
        headers.set("content-type", "application/json").map_err(failed)?;
        headers.set(request_id::HEADER, self.request_id.as_str()).map_err(failed)?;
        let mut init = RequestInit::new();
        init.with_method(method).with_headers(headers);
        if let Some(body) = body {
            init.with_body(Some(body.to_string().into()));
        }
        let request = Request::new_with_init(&format!("http://cabana{path}"), &init).map_err(failed)?;
        let mut answer = proxy_to_sandbox(request, self.env, self.context, BINDING, self.principal).await;
        let status = answer.status_code();
        let bytes = answer
            .bytes()
            .await
            .map_err(|_| Error::new(Code::Interrupted, "the answer broke off; its work may have been done"))?;
        if status == 204 {
            return Ok(Value::Null);
        }
        let odd = || Error::new(Code::AgentUnavailable, "the answer cannot be understood");
        if status >= 400 {
            return Err(decode_own::<ErrorBody>(&bytes).map_or_else(|_| odd(), |body| body.error));
        }
        // What fails after its answer has begun says so in the body.
        if let Some(late) = ErrorBody::late(&bytes) {
            return Err(late.error);
        }
        serde_json::from_slice(&bytes).map_err(|_| odd())
    }
}

/// One sandbox, for one call.
#[allow(missing_debug_implementations)]
pub(super) struct Target<'a> {
    api: &'a Api<'a>,
    id: SandboxId,
    is_default: bool,
}

impl Target<'_> {
    /// Its id.
    pub(super) fn id(&self) -> &SandboxId {
        &self.id
    }

    /// Runs an operation, or asks for what lies below the sandbox's id: `file/read`, `ports`.
    pub(super) async fn post(&self, route: &str, body: Value) -> Result<Value, Error> {
        let path = format!("/v1/sandboxes/{}/{route}", self.id);
        match self.api.send(Method::Post, &path, Some(&body)).await {
            Err(error) if self.is_default && is_missing(&error) => {
                self.api.send(Method::Post, "/v1/sandboxes", Some(&json!({ "name": DEFAULT_NAME }))).await?;
                self.api.send(Method::Post, &path, Some(&body)).await
            }
            answer => answer,
        }
    }
}

/// Whether a sandbox is not there.
pub(super) fn is_missing(error: &Error) -> bool {
    error.code == Code::NotFound && error.details.as_ref().is_some_and(|details| details["reason"] == "no_such_sandbox")
}
