//! A sandbox as the code of a Worker sees it.

use cabana_protocol::{
    Code, Error, Fold, KeyId, Operation, SandboxId, Streaming,
    error::ErrorBody,
    exec::{Command, Exec, ExecOutput},
    sandbox::{CreateSandbox, Sandbox},
};
use serde::{Serialize, de::DeserializeOwned};
use worker::{Env, Method, Request, RequestInit, Response, Stub, js_sys::Reflect, wasm_bindgen::JsValue};

use crate::{
    Kinds,
    principal::{self, Principal},
    sandbox::{CONTROL_PATH, SOCKETS},
};

/// The host of URLs between Worker, Durable Object and agent. It is never looked up.
pub(crate) const ORIGIN: &str = "http://sandbox";

/// The header by which an object learns the binding that leads to it.
pub(crate) const BINDING_HEADER: &str = "x-cabana-binding";

/// One sandbox, reached through its Durable Object.
///
/// Dropping a call's future gives the call up; a command that was running for it ends.
#[derive(Debug)]
pub struct Handle {
    id: SandboxId,
    binding: String,
    stub: Stub,
    /// On whose behalf it asks; `None`: the Worker's own.
    principal: Option<Principal>,
}

impl Handle {
    /// The sandbox of this id, in the class of its kind, or else in the one that is bound as `binding`.
    pub(crate) fn new(env: &Env, binding: &str, id: SandboxId) -> Result<Self, Error> {
        let kinds = Kinds::read(env)?;
        let binding = kinds.binding(&id, binding);
        let missing = |error| Error::new(Code::NotImplemented, format!("no Durable Object is bound as {binding}: {error}"));
        let namespace = env.durable_object(binding).map_err(missing)?;
        let stub = namespace.get_by_name(id.as_str()).map_err(unreachable)?;
        Ok(Self { id, binding: binding.to_owned(), stub, principal: None })
    }

    /// The same on behalf of a caller: a sandbox that the caller does not see is `not_found`. What the caller's scopes allow is for
    /// [`Principal::check`] to say.
    pub fn acting_for(self, principal: &Principal) -> Self {
        Self { principal: Some(principal.clone()), ..self }
    }

    /// Its id.
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// Makes the sandbox, or finds it: a sandbox that is there stays as it is, whatever the request says. The request's name and
    /// kind do not count, for this handle has an id already. The container starts with the first operation. What its project wants of it, if it
    /// names one, is noted and left to [`proxy_to_sandbox`](crate::proxy_to_sandbox), which knows projects.
    ///
    /// Fails with `invalid_request` where the id's kind is not an image of wrangler.jsonc.
    pub async fn create(&self, request: &CreateSandbox) -> Result<Sandbox, Error> {
        decode(self.control(Method::Post, Some(request)).await?).await
    }

    /// Shows the sandbox, without waking it. Fails with `not_found`.
    pub async fn info(&self) -> Result<Sandbox, Error> {
        decode(self.control(Method::Get, None::<&()>).await?).await
    }

    /// Ends the container and forgets the sandbox, files and all. Does nothing where there is none.
    pub async fn destroy(&self) -> Result<(), Error> {
        check(self.control(Method::Delete, None::<&()>).await?).await.map(drop)
    }

    /// Closes the sockets that were opened with this API key, or with what was made with it: it was revoked. What ran for them ends. Does
    /// nothing where there are none.
    pub async fn disconnect(&self, key: &KeyId) -> Result<(), Error> {
        let request = request(Method::Delete, &format!("{CONTROL_PATH}{SOCKETS}?key={key}"), None::<&()>)?;
        check(self.fetch(request).await?).await.map(drop)
    }

    /// Runs a command to its end: the shell where it is a string, the exact argv where it is an array.
    ///
    /// For its options pass an [`Exec`] to [`Self::run`]. Fails as [`Exec`] says, with `not_found` (no such sandbox) and
    /// `container_not_ready` (it is still starting: repeat).
    pub async fn exec(&self, command: impl Into<Command>) -> Result<ExecOutput, Error> {
        self.run(&Exec::new(command)).await
    }

    /// Carries out an operation.
    pub async fn call<O: Operation>(&self, operation: &O) -> Result<O::Response, Error> {
        self.post(O::NAME, operation).await
    }

    /// Carries out an operation that talks while it runs, and gathers all it says.
    pub async fn run<O: Streaming>(&self, operation: &O) -> Result<<O::Fold as Fold<O>>::Output, Error> {
        self.post(O::NAME, operation).await
    }

    /// Passes a request on to the object.
    pub(crate) async fn fetch(&self, request: Request) -> Result<Response, Error> {
        if let Some(principal) = &self.principal {
            let set = request.headers().set(principal::HEADER, &principal.encode());
            set.map_err(|error| Error::internal(error.to_string()))?;
        }
        request.headers().set(BINDING_HEADER, &self.binding).map_err(unreachable)?;
        self.stub.fetch_with_request(request).await.map_err(unreachable)
    }

    /// Asks the object itself.
    pub(crate) async fn control(&self, method: Method, body: Option<&impl Serialize>) -> Result<Response, Error> {
        self.fetch(request(method, CONTROL_PATH, body)?).await
    }

    async fn post<R: DeserializeOwned>(&self, name: &str, operation: &impl Serialize) -> Result<R, Error> {
        let path = format!("/v1/{}", name.replace('.', "/"));
        decode(self.fetch(request(Method::Post, &path, Some(operation))?).await?).await
    }
}

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

/// The response where it is a success, the error that it carries otherwise.
pub(crate) async fn check(mut response: Response) -> Result<Response, Error> {
    if response.status_code() < 400 {
        return Ok(response);
    }
    let body = response.bytes().await.unwrap_or_default();
    let status = response.status_code();
    let odd = || Error::new(Code::AgentUnavailable, format!("the sandbox answered {status} without an error of ours"));
    Err(serde_json::from_slice::<ErrorBody>(&body).map_or_else(|_| odd(), |body| body.error))
}

async fn decode<R: DeserializeOwned>(response: Response) -> Result<R, Error> {
    let mut response = check(response).await?;
    let body = response.bytes().await.map_err(unreachable)?;
    serde_json::from_slice(&body).map_err(|_| Error::new(Code::AgentUnavailable, "the sandbox's answer cannot be understood"))
}

/// The call to the object failed: it is overloaded, was reset by a deployment, or has a defect.
fn unreachable(error: worker::Error) -> Error {
    let flag = |name: &str| Reflect::get(&error.to_js_value(), &name.into()).is_ok_and(|value| value.is_truthy());
    if flag("overloaded") {
        return Error::new(Code::TooManyRequests, "the sandbox has more requests than it can take");
    }
    Error::internal(format!("the sandbox's object did not answer: {error}"))
}
