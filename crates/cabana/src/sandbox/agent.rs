//! The agent of one start, as a lease lends it.

use std::pin::pin;

use cabana_protocol::{Error, Operation, call, decode_own};
use futures_util::future::{self, Either};
use worker::{Fetcher, Method, Request, Response, Result as WorkerResult};

use super::runtime::Lease;
use crate::{
    container::Container,
    principal,
    wire::{self, BINDING_HEADER, MAKING_HEADER, cancellable, redirect},
};

/// The agent that a lease lends.
pub(super) struct Agent<'a> {
    container: &'a Container,
    lease: &'a Lease,
}

impl<'a> Agent<'a> {
    /// The agent of this lease. Fails with `not_implemented` where the object has no container.
    pub(super) fn new(lease: &'a Lease) -> Result<Self, Error> {
        Ok(Self { container: lease.supervisor().platform().container()?, lease })
    }

    /// Passes a request on, whose URL is the agent's already; it is cancelled when the caller's is. What runs for a `call` of this name goes on
    /// for a while where the connection ends before the agent is told that the client has hung up.
    pub(super) async fn fetch(&self, request: &Request, call: Option<&str>) -> WorkerResult<Response> {
        let outgoing = cancellable(&redirect(request, &request.inner().url())?, &request.inner().signal())?;
        outgoing.headers().set("authorization", &format!("Bearer {}", self.lease.secret()))?;
        // The sandbox does not learn who the caller is.
        outgoing.headers().delete(principal::HEADER)?;
        outgoing.headers().delete(BINDING_HEADER)?;
        outgoing.headers().delete(MAKING_HEADER)?;
        outgoing.headers().delete(call::HEADER)?;
        if let Some(name) = call {
            outgoing.headers().set(call::HEADER, name)?;
        }
        self.send(self.container.agent()?, Request::from(outgoing)).await
    }

    /// Has a program in the sandbox answer on this port. It is not shown the secret.
    pub(super) async fn visit(&self, port: u16, request: Request) -> WorkerResult<Response> {
        self.send(self.container.port(port)?, request).await
    }

    /// Carries out a small operation.
    pub(super) async fn call<O: Operation>(&self, operation: &O) -> WorkerResult<O::Response> {
        let failed = |error: Error| worker::Error::RustError(error.message);
        let path = format!("/v1/{}", O::NAME.replace('.', "/"));
        let mut answer = self.fetch(&wire::request(Method::Post, &path, Some(operation)).map_err(failed)?, None).await?;
        decode_own(&answer.bytes().await?).map_err(failed)
    }

    async fn send(&self, port: Fetcher, request: Request) -> WorkerResult<Response> {
        match future::select(pin!(port.fetch_request(request)), pin!(self.lease.lost())).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(worker::Error::RustError("the container has ended, or was given up".to_owned())),
        }
    }
}
