//! The Durable Object: one sandbox's identity and life, and the way to its agent.

#![allow(missing_docs, reason = "what #[durable_object] generates has none")]

mod forward;
mod life;
mod listing;
mod ports;
mod record;
mod start;

use std::rc::Rc;

use cabana_protocol::{Error, SandboxId, sandbox::CreateSandbox};
use worker::{DurableObject, Env, Method, Request, Response, State, durable_object};

use self::{life::Life, listing::Listing};
use crate::{
    Config, Database, Handle, Principal, RequestId, create, principal, reply,
    request::{decode, read_body},
};

pub(crate) use self::{forward::redirect, ports::PORTS_PATH};

/// The Durable Object class to name in wrangler.jsonc: `"class_name": "Sandbox"`, with SQLite storage and a container.
///
/// The object of a sandbox is the one whose name is the sandbox's id. [`Sandbox::get`] reaches it.
///
/// Its requests come from [`Handle`] alone: what is under `/v1/` is the agent's and passed on as it is, what is under `/visit/` is for a
/// program that listens on a port, and [`CONTROL_PATH`] and [`PORTS_PATH`] are its own.
#[durable_object]
#[allow(missing_debug_implementations)]
pub struct Sandbox {
    life: Result<Rc<Life>, Error>,
}

/// Where the object answers for itself: `POST` creates, `GET` describes, `PATCH` changes, `DELETE` destroys.
pub(crate) const CONTROL_PATH: &str = "/sandbox";

impl Sandbox {
    /// The sandbox of this id, reached through a Durable Object binding of wrangler.jsonc. Makes no call.
    ///
    /// Fails with `invalid_request` (not an id) and `not_implemented` (no such binding).
    pub fn get(env: &Env, binding: &str, id: &str) -> Result<Handle, Error> {
        Handle::new(env, binding, id.parse::<SandboxId>()?)
    }

    async fn answer(&self, mut request: Request, request_id: &RequestId) -> Result<Response, Error> {
        let life = self.life.as_ref().map_err(Clone::clone)?;
        let principal = Principal::decode(request.headers().get(principal::HEADER).ok().flatten().as_deref())?;
        if let Some(call) = ports::Call::of(&request.path()) {
            return call.answer(life, &principal, request, request_id).await;
        }
        let creates = request.path() == CONTROL_PATH && request.method() == Method::Post;
        if !creates {
            life.admit(&principal)?;
        }
        if request.path() != CONTROL_PATH {
            return forward::forward(life, &request, request_id).await;
        }
        match request.method() {
            Method::Post => {
                let body: CreateSandbox = decode(&read_body(&mut request, create::MAX_BODY_BYTES).await?)?;
                let (sandbox, new) = life.create(body, &principal)?;
                Ok(reply::json(if new { 201 } else { 200 }, &sandbox, request_id))
            }
            Method::Patch => {
                let body = decode(&read_body(&mut request, create::MAX_BODY_BYTES).await?)?;
                Ok(reply::json(200, &life.update(body)?, request_id))
            }
            Method::Delete => life.destroy().await.map(|()| reply::empty(request_id)),
            _ => Ok(reply::json(200, &life.describe()?, request_id)),
        }
    }
}

impl DurableObject for Sandbox {
    fn new(state: State, env: Env) -> Self {
        Self { life: Life::load(state, Config::read(&env), Listing::new(Database::of(&env))) }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let request_id = RequestId::of(request.headers());
        let answer = self.answer(request, &request_id).await;
        Ok(answer.unwrap_or_else(|error| reply::error(&error, &request_id)))
    }

    async fn alarm(&self) -> worker::Result<Response> {
        if let Ok(life) = &self.life {
            life.list();
        }
        Response::empty()
    }
}
