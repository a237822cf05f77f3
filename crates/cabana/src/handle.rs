//! A sandbox as the code of a Worker sees it.

mod body;
mod code;
mod feed;
mod files;
mod interactive;
mod life;
mod lines;
mod ports;
mod process;
mod running;
mod session;

use std::sync::Arc;

use cabana_protocol::{
    Code, Error, KeyId, Operation, SandboxId, decode_own,
    error::ErrorBody,
    exec::{Exec, ExecOutput},
    header,
    sandbox::CreateSandbox,
};
use serde::{Serialize, de::DeserializeOwned};
use worker::{Env, Method, Request, Response, Stub, js_sys::Reflect};

pub(crate) use self::lines::{Lines, NDJSON};
use self::running::Cancel;
pub use self::{
    body::Body,
    code::CodeContext,
    files::Download,
    interactive::Interactive,
    process::Process,
    running::{Call, Running},
    session::Session,
};
use crate::{
    Address, Kinds, Result,
    fault::interrupted,
    principal::{self, Principal},
    wire::{self, BINDING_HEADER, CONTROL_PATH, MAKING_HEADER, SOCKETS},
};

/// The binding of the Durable Object class of sandboxes whose kind has none of its own.
pub(crate) const DEFAULT_BINDING: &str = "SANDBOX";

/// The longest header with what a sandbox is made with, in bytes: a request's headers have bounds of their own.
const MAX_MAKING_BYTES: usize = 16 << 10;

/// One sandbox, reached through its Durable Object. Clones reach the same one.
///
/// [`Sandbox::get`](crate::Sandbox::get) makes it. Its methods are those of `cabana-client`.
///
/// | verb | what it does |
/// | --- | --- |
/// | [`exec`](Self::exec), [`call`](Self::call) | Runs an operation to its end, and answers everything that it answers. |
/// | [`stream`](Self::stream) | Starts a streaming operation: its events, inputs, result. Dropping it cancels the operation. |
/// | [`feed`](Self::feed) | Starts a command that reads content of any size. |
/// | [`interact`](Self::interact) | Starts a streaming operation that is told things while it runs. |
/// | [`read`](Self::read), [`write`](Self::write), [`archive`](Self::archive), [`extract`](Self::extract) | Content of any size, as it comes. |
/// | [`spawn`](Self::spawn), [`create_session`](Self::create_session), [`create_context`](Self::create_context) | Handles of processes, shells and code contexts. |
/// | [`expose`](Self::expose), [`fetch`](Self::fetch), [`connect`](Self::connect) | Programs that listen on a port, and clients with a WebSocket. |
/// | [`show`](Self::show), [`stop`](Self::stop), [`snapshot`](Self::snapshot), [`delete`](Self::delete), … | Its life. |
///
/// Dropping a call's future gives the call up; a command that was running for it ends.
#[derive(Debug, Clone)]
pub struct Handle {
    address: Address,
    binding: String,
    stub: Arc<Stub>,
    /// On whose behalf it asks.
    principal: Principal,
    /// What the sandbox is made with where there is none; `None`: it is not made.
    making: Option<Arc<CreateSandbox>>,
}

impl Handle {
    /// The sandbox at this address, in the class of its kind, or else in the one that is bound as `binding`; on behalf of the Worker itself,
    /// which may do everything.
    pub(crate) fn new(env: &Env, binding: &str, address: Address) -> Result<Self, Error> {
        Self::of_kinds(env, &Kinds::read(env)?, binding, address)
    }

    pub(crate) fn of_kinds(env: &Env, kinds: &Kinds, binding: &str, address: Address) -> Result<Self, Error> {
        let binding = kinds.binding(address.id(), binding);
        let missing = |error| Error::new(Code::NotImplemented, format!("no Durable Object is bound as {binding}: {error}"));
        let namespace = env.durable_object(binding).map_err(missing)?;
        let stub = Arc::new(namespace.get_by_name(&address.to_string()).map_err(unreachable)?);
        Ok(Self { address, binding: binding.to_owned(), stub, principal: Principal::operator(), making: None })
    }

    /// Makes the sandbox with these settings where there is none when it is first used. A sandbox that is there keeps the settings that it has;
    /// [`Self::create`] compares them, and [`Self::update`] changes them.
    ///
    /// Their name, kind and project do not count: this handle has an id already, and projects are for
    /// [`proxy_to_sandbox`](crate::proxy_to_sandbox). Settings of more than 16 KiB are too long to go with each request: use
    /// [`Self::create`].
    #[must_use]
    pub fn with(self, settings: CreateSandbox) -> Self {
        Self { making: Some(Arc::new(settings)), ..self }
    }

    /// Makes no sandbox: where there is none, calls fail with `not_found`.
    #[must_use]
    pub fn existing(self) -> Self {
        Self { making: None, ..self }
    }

    /// The same on behalf of a caller: a sandbox that the caller does not see is `not_found`. What the caller's scopes allow is for
    /// [`Principal::check`] to say.
    #[must_use]
    pub fn acting_for(self, principal: &Principal) -> Self {
        Self { principal: principal.clone(), ..self }
    }

    /// Its id.
    pub fn id(&self) -> &SandboxId {
        self.address.id()
    }

    /// On whose behalf it asks.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Runs a command to its end: the shell where it is a string, the exact argv where it is an array, and an [`Exec`] for all options.
    ///
    /// The answer holds its output, at most 1 MiB of stdout and of stderr each unless `max_output_bytes` says otherwise. A non-zero exit is a
    /// result, not an error. Fails as [`Exec`] says, and with `container_not_ready` (it is still starting: repeat).
    pub async fn exec(&self, command: impl Into<Exec>) -> Result<ExecOutput> {
        self.call(command.into()).await
    }

    /// Runs an operation to its end. The answer of a streaming operation is the fold of its events: of `exec`, its exit and its output.
    ///
    /// Fails as the operation says. Dropping the future cancels the operation.
    pub async fn call<O: Call>(&self, operation: O) -> Result<O::Output> {
        let (request, cancel) = Cancel::on_drop(self.operation(&operation)?)?;
        let answer = decode(self.reach(request).await?).await;
        cancel.disarm();
        Ok(answer?)
    }

    /// Closes the sockets that were opened with this API key, or with what was made with it: it was revoked. What ran for them ends. Does
    /// nothing where there are none.
    pub async fn disconnect(&self, key: &KeyId) -> Result<()> {
        let request = wire::request(Method::Delete, &format!("{CONTROL_PATH}{SOCKETS}?key={key}"), None::<&()>)?;
        check(self.pass(request).await?).await?;
        Ok(())
    }

    /// The request of an operation.
    fn operation<O: Operation>(&self, operation: &O) -> Result<Request, Error> {
        wire::request(Method::Post, &format!("/v1/{}", O::NAME.replace('.', "/")), Some(operation))
    }

    /// Passes a request on to the object of a sandbox that is made where there is none.
    pub(crate) async fn reach(&self, request: Request) -> Result<Response, Error> {
        self.send(request, self.making.as_deref()).await
    }

    /// Passes a request on to the object, in the principal's name.
    pub(crate) async fn pass(&self, request: Request) -> Result<Response, Error> {
        self.send(request, None).await
    }

    async fn send(&self, request: Request, making: Option<&CreateSandbox>) -> Result<Response, Error> {
        let headers = request.headers();
        headers.set(principal::HEADER, &self.principal.encode()).map_err(unreachable)?;
        headers.set(BINDING_HEADER, &self.binding).map_err(unreachable)?;
        match making {
            Some(settings) => headers.set(MAKING_HEADER, &encode(settings)?).map_err(unreachable)?,
            // Whatever has come under this name.
            None => headers.delete(MAKING_HEADER).map_err(unreachable)?,
        }
        self.stub.fetch_with_request(request).await.map_err(unreachable)
    }

    /// Asks the object itself.
    async fn control(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<Response, Error> {
        self.pass(wire::request(method, &format!("{CONTROL_PATH}{path}"), body)?).await
    }
}

fn encode(settings: &CreateSandbox) -> Result<String, Error> {
    let text = header::encode(settings).map_err(|_| Error::invalid_request("the sandbox's settings cannot be encoded"))?;
    if text.len() > MAX_MAKING_BYTES {
        let message = format!("the sandbox's settings are longer than {MAX_MAKING_BYTES} bytes: make it by `create` first");
        return Err(Error::invalid_request(message));
    }
    Ok(text)
}

/// The response where it is a success, the error that it carries otherwise.
pub(crate) async fn check(mut response: Response) -> Result<Response, Error> {
    if response.status_code() < 400 {
        return Ok(response);
    }
    let body = response.bytes().await.unwrap_or_default();
    let status = response.status_code();
    let odd = || Error::new(Code::AgentUnavailable, format!("the sandbox answered {status} without an error of ours"));
    Err(decode_own::<ErrorBody>(&body).map_or_else(|_| odd(), |body| body.error))
}

/// The value of a response that is a success.
pub(crate) async fn decode<R: DeserializeOwned>(response: Response) -> Result<R, Error> {
    let mut response = check(response).await?;
    let body = response.bytes().await.map_err(unreachable)?;
    if let Some(late) = ErrorBody::late(&body) {
        return Err(late.error);
    }
    decode_own(&body).map_err(|_| Error::new(Code::AgentUnavailable, "the sandbox's answer cannot be understood"))
}

/// The call to the object failed: it is overloaded, was reset, by a deployment or by its own wish, or has a defect.
fn unreachable(error: worker::Error) -> Error {
    let flag = |name: &str| Reflect::get(&error.to_js_value(), &name.into()).is_ok_and(|value| value.is_truthy());
    if flag("overloaded") {
        return Error::new(Code::TooManyRequests, "the sandbox has more requests than it can take");
    }
    if flag("durableObjectReset") {
        return interrupted("the sandbox's object was reset");
    }
    Error::internal(format!("the sandbox's object did not answer: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_too_long_for_a_header_are_refused() {
        let settings =
            |value: &str| CreateSandbox { env: [("A".to_owned(), Some(value.to_owned()))].into(), ..CreateSandbox::default() };
        assert_eq!(encode(&settings("\u{e9}")).unwrap(), r#"{"env":{"A":"\u00e9"}}"#);
        let error = encode(&settings(&"a".repeat(MAX_MAKING_BYTES))).unwrap_err();
        assert!(error.code == Code::InvalidRequest && error.message.contains("`create`"), "{error}");
    }
}
