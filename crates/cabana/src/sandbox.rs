//! The Durable Object: one sandbox's identity and life, and the way to its agent.

#![allow(missing_docs, reason = "what #[durable_object] generates has none")]

mod activity;
mod alarm;
pub(crate) mod audit;
mod backend;
mod control;
mod create;
mod describe;
mod end;
mod form;
mod forward;
mod history;
mod kind;
mod life;
mod lines;
mod listing;
mod measure;
mod ports;
mod probe;
mod record;
mod setup;
mod start;
mod steps;
mod wake;

use std::rc::Rc;

use cabana_protocol::{Error, SandboxId, sandbox::State as LifeState};
use worker::{Date, DurableObject, Env, Method, Request, Response, State, WebSocket, WebSocketIncomingMessage, durable_object};

use self::{audit::Exchange, life::Life, listing::Listing};
use crate::{
    Config, Database, Handle, Principal, RequestId, gateway::Gateway, handle::BINDING_HEADER, lifecycle::Instant, principal,
    reply, tenant::admission::Admission,
};

pub(crate) use self::{
    forward::{cancellable, redirect},
    ports::PORTS_PATH,
    setup::SetUp,
};

/// The Durable Object class to name in wrangler.jsonc: `"class_name": "Sandbox"`, with SQLite storage and a container.
///
/// The object of a sandbox is the one whose name is the sandbox's id. [`Sandbox::get`] reaches it.
///
/// Its requests come from [`Handle`] alone: what is under `/v1/` is the agent's and passed on as it is, what is under `/visit/` is for a
/// program that listens on a port, and `CONTROL_PATH` and `PORTS_PATH` are its own.
#[durable_object]
#[allow(missing_debug_implementations)]
pub struct Sandbox {
    life: Result<Rc<Life>, Error>,
    gateway: Result<Rc<Gateway>, Error>,
}

/// Where the object answers for itself, see `control`: `POST` creates, `GET` describes, `PATCH` changes, `DELETE` destroys.
pub(crate) const CONTROL_PATH: &str = "/sandbox";

/// Where, below [`CONTROL_PATH`], the sockets of an API key are closed: `DELETE`, with its id as `key` in the query.
pub(crate) const SOCKETS: &str = "/sockets";

/// Where a sandbox is made ready for its project.
pub(crate) const SETUP_PATH: &str = "/sandbox/setup";

/// Where clients' sockets are accepted.
const CONNECT_PATH: &str = "/v1/connect";

/// Where the gateway tells of what it has refused.
pub(crate) const REFUSED_PATH: &str = "/sandbox/refused";

impl Sandbox {
    /// The sandbox of this id, reached through a Durable Object binding of wrangler.jsonc. Makes no call.
    ///
    /// Fails with `invalid_request` (not an id) and `not_implemented` (no such binding).
    pub fn get(env: &Env, binding: &str, id: &str) -> Result<Handle, Error> {
        Handle::new(env, binding, id.parse::<SandboxId>()?)
    }

    /// Answers, and sees to it that the audit tells of it.
    async fn serve(&self, request: Request, request_id: &RequestId) -> Result<Response, Error> {
        let life = self.life.as_ref().map_err(Clone::clone)?;
        let header = |name| request.headers().get(name).ok().flatten();
        let principal = Principal::decode(header(principal::HEADER).as_deref())?;
        life.admission.came_by(header(BINDING_HEADER));
        let (exchange, request) = Exchange::begin(life, request, &principal, request_id);
        Ok(exchange.finish(self.answer(life, request, principal, request_id).await))
    }

    async fn answer(
        &self,
        life: &Rc<Life>,
        request: Request,
        principal: Principal,
        request_id: &RequestId,
    ) -> Result<Response, Error> {
        let path = request.path();
        if let Some(call) = ports::Call::of(&path) {
            return call.answer(life, &principal, request, request_id).await;
        }
        let creates = path == CONTROL_PATH && request.method() == Method::Post;
        if !creates {
            life.admit(&principal)?;
        }
        let gateway = self.gateway.as_ref().map_err(Clone::clone)?;
        let deletes = request.method() == Method::Delete;
        match path.strip_prefix(CONTROL_PATH) {
            Some(SOCKETS) if deletes => control::disconnect(gateway, &request, request_id),
            Some(action) => {
                // Before it is forgotten whose sandbox it was.
                if deletes && action.is_empty() {
                    gateway.destroyed();
                }
                control::answer(life, request, action, &principal, request_id).await
            }
            None if path.trim_end_matches('/') == CONNECT_PATH => gateway.accept(&request, principal),
            None => forward::forward(life, &request, request_id).await,
        }
    }
}

/// The time. It stands still while the object computes.
fn now() -> Instant {
    Instant(Date::now().as_millis())
}

impl DurableObject for Sandbox {
    fn new(state: State, env: Env) -> Self {
        let listing = Listing::new(Database::of(&env));
        let config = Config::read(&env);
        let admission = Admission::new(env, state.id().name().unwrap_or_default());
        let life = Life::load(state, config, listing, admission);
        let gateway = life.clone().map(|life| Gateway::load(life));
        Self { life, gateway }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let request_id = RequestId::of(request.headers());
        let answer = self.serve(request, &request_id).await;
        Ok(answer.unwrap_or_else(|error| reply::error(&error, &request_id)))
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let failed = |error: Error| worker::Error::RustError(error.message);
        let life = self.life.as_ref().map_err(|error| failed(error.clone()))?;
        let gateway = self.gateway.as_ref().map_err(|error| failed(error.clone()))?;
        gateway.expire(now().0);
        // The platform tries an alarm again that has failed.
        life.on_alarm().await.map_err(failed)?;
        if life.current().is_none_or(|state| state == LifeState::Destroyed) {
            gateway.destroyed();
        }
        Response::empty()
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> worker::Result<()> {
        if let Ok(gateway) = &self.gateway {
            gateway.message(&socket, message).await;
        }
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, _: usize, _: String, _: bool) -> worker::Result<()> {
        self.gateway.iter().for_each(|gateway| gateway.closed(&socket));
        Ok(())
    }

    async fn websocket_error(&self, socket: WebSocket, _: worker::Error) -> worker::Result<()> {
        self.gateway.iter().for_each(|gateway| gateway.closed(&socket));
        Ok(())
    }
}
