//! The Durable Object: one sandbox's identity and life, and the way to its agent.

#![allow(missing_docs, reason = "what #[durable_object] generates has none")]

mod agent;
mod archives;
mod call;
mod control;
mod create;
mod exports;
mod forward;
mod gateway;
mod history;
mod metrics;
mod network;
mod object;
mod outbox;
mod platform;
mod ports;
mod probe;
mod quiesce;
mod record;
mod runtime;
mod setup;
mod signal;
mod snapshots;
mod sql;
mod store;
mod stream;
mod supervisor;
mod upgrade;
mod variables;

use std::rc::Rc;

use cabana_protocol::{Error, Tenant, header, sandbox::CreateSandbox};
use futures_util::future::LocalBoxFuture;
use worker::{DurableObject, Env, Method, Request, Response, State, WebSocket, WebSocketIncomingMessage, durable_object};

pub(crate) use self::setup::SetUp;
use self::{call::Call, gateway::Gateway, object::Object};
use crate::{
    Address, Handle, Kinds, Principal, RequestId, Result,
    audit::Exchange,
    clock::now,
    handle::DEFAULT_BINDING,
    hooks::{HookTable, Hooks},
    principal, reply,
    wire::{BINDING_HEADER, CONNECT_PATH, CONTROL_PATH, MAKING_HEADER, SOCKETS},
};

/// The Durable Object class to name in wrangler.jsonc: `"class_name": "Sandbox"`, with SQLite storage and a container.
///
/// The object of a sandbox is the one of its [`Address`]. [`Sandbox::get`] reaches it.
///
/// Its requests come from [`Handle`] alone: what is under `/v1/` is the agent's and passed on as it is, what is under `/visit/` is for a
/// program that listens on a port, and `CONTROL_PATH` and `PORTS_PATH` are its own.
#[durable_object]
#[allow(missing_debug_implementations)]
pub struct Sandbox {
    parts: Result<(Rc<Object>, Rc<Gateway>), Error>,
}

impl Sandbox {
    /// The sandbox of this name, of the default tenant. It is made when it is first used, see [`Handle::with`] and [`Handle::existing`]. Makes no
    /// call.
    ///
    /// A name that begins with a kind and a hyphen is an id, such as `python-7`; the kinds are those of the Worker's variable `CABANA_KINDS`. Any
    /// other name is one of the default kind: `7` and `sbx-7` are the same sandbox. Upper case becomes lower, and `_` becomes `-`.
    ///
    /// The Durable Object class is the one that is bound as `SANDBOX`, unless the kind has one of its own.
    ///
    /// Fails with `invalid_request` (no id can be made of the name) and `not_implemented` (no such binding).
    pub fn get(env: &Env, name: &str) -> Result<Handle> {
        let kinds = Kinds::read(env)?;
        let address = Address::new(kinds.id(name)?, &Tenant::default());
        Ok(Handle::of_kinds(env, &kinds, DEFAULT_BINDING, address)?.with(CreateSandbox::default()))
    }

    /// The sandbox at this address, in the class of its kind, or else in the one with this binding. It is not made by being used, see
    /// [`Handle::with`]. Makes no call.
    ///
    /// Fails with `not_implemented`.
    pub fn at(env: &Env, binding: &str, address: Address) -> Result<Handle> {
        Ok(Handle::new(env, binding, address)?)
    }

    /// The object of a class with hooks: [`sandbox_class`](crate::sandbox_class) makes such classes.
    #[doc(hidden)]
    pub fn with_hooks<H: Hooks>(state: State, env: Env) -> Self {
        Self::load(state, env, Some(HookTable::of::<H>()))
    }

    fn load(state: State, env: Env, hooks: Option<HookTable>) -> Self {
        let parts = Object::load(state, env, hooks).map(|object| {
            let gateway = Gateway::load(&object);
            (object, gateway)
        });
        Self { parts }
    }

    /// Answers what the platform brings.
    ///
    /// Boxed, as [`Self::wake`] is: the futures of an `async fn` are compiled anew in each crate that waits for them, and each class of
    /// [`sandbox_class`](crate::sandbox_class) does.
    fn respond(&self, request: Request) -> LocalBoxFuture<'_, Response> {
        Box::pin(async move {
            let request_id = RequestId::of(request.headers());
            let answer = self.serve(request, &request_id).await;
            answer.unwrap_or_else(|error| reply::error(&error, &request_id))
        })
    }

    /// Does what is due.
    fn wake(&self) -> LocalBoxFuture<'_, worker::Result<()>> {
        Box::pin(async move {
            let failed = |error: Error| worker::Error::RustError(error.message);
            let (object, gateway) = self.parts.as_ref().map_err(|error| failed(error.clone()))?;
            gateway.expire(now().0);
            // The platform tries an alarm again that has failed.
            object.on_alarm().await.map_err(failed)?;
            if object.is_destroyed() {
                gateway.destroyed();
            }
            Ok(())
        })
    }

    /// Answers, and enters the request in the audit.
    async fn serve(&self, request: Request, request_id: &RequestId) -> Result<Response, Error> {
        let (object, gateway) = self.parts.as_ref().map_err(Clone::clone)?;
        let header = |name| request.headers().get(name).ok().flatten();
        let principal = Principal::decode(header(principal::HEADER).as_deref())?;
        object.admission.came_by(header(BINDING_HEADER));
        let owner = || object.store.owner();
        let (exchange, request) = Exchange::begin(&object.audit, owner().as_ref(), request, &principal, request_id);
        let call = Call::of(&object.supervisor, &request);
        let answer = answer(object, gateway, request, call.as_ref().map(Call::name), principal, request_id).await;
        let hung_up = move || {
            if let Some(call) = call {
                call.hang_up();
            }
        };
        let written = {
            let object = Rc::clone(object);
            move || {
                object.outbox.note_audit();
                if object.store.is_empty() {
                    // All that is left is the trail, and somebody is to remove it one day.
                    object.supervisor.rearm();
                }
            }
        };
        Ok(exchange.finish(answer, owner().as_ref(), written, hung_up))
    }
}

async fn answer(
    object: &Rc<Object>,
    gateway: &Rc<Gateway>,
    request: Request,
    call: Option<&str>,
    principal: Principal,
    request_id: &RequestId,
) -> Result<Response, Error> {
    let path = request.path();
    let creates = path == CONTROL_PATH && request.method() == Method::Post;
    if let Some(settings) = request.headers().get(MAKING_HEADER).ok().flatten()
        && object.is_destroyed()
    {
        make(object, &settings, &principal).await?;
    }
    if let Some(call) = ports::Call::parse(&path) {
        return call.answer(object, &principal, request, request_id).await;
    }
    if !creates {
        object.store.admit(&principal)?;
    }
    let deletes = request.method() == Method::Delete;
    match path.strip_prefix(CONTROL_PATH) {
        Some(SOCKETS) if deletes => control::disconnect(gateway, &request, request_id),
        Some(action) => {
            // Before it is forgotten whose sandbox it was.
            if deletes && action.is_empty() {
                gateway.destroyed();
            }
            control::answer(object, request, action, &principal, request_id).await
        }
        None if path.trim_end_matches('/') == CONNECT_PATH => gateway.accept(&request, principal),
        None if let Some(key) = exports::key(&request) => exports::answer(object, &request, &key, request_id).await,
        None => forward::forward(&object.supervisor, &request, call, request_id).await,
    }
}

/// Makes the sandbox that a caller in the Worker uses for the first time.
async fn make(object: &Rc<Object>, settings: &str, principal: &Principal) -> Result<(), Error> {
    let settings: CreateSandbox = header::decode(settings)?;
    crate::create::check(&settings)?;
    object.create(settings, false, principal).await.map(drop)
}

impl DurableObject for Sandbox {
    fn new(state: State, env: Env) -> Self {
        Self::load(state, env, None)
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        Ok(self.respond(request).await)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.wake().await?;
        Response::empty()
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> worker::Result<()> {
        if let Ok((_, gateway)) = &self.parts {
            gateway.message(&socket, message);
        }
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, _: usize, _: String, _: bool) -> worker::Result<()> {
        self.parts.iter().for_each(|(_, gateway)| gateway.closed(&socket));
        Ok(())
    }

    async fn websocket_error(&self, socket: WebSocket, _: worker::Error) -> worker::Result<()> {
        self.parts.iter().for_each(|(_, gateway)| gateway.closed(&socket));
        Ok(())
    }
}
