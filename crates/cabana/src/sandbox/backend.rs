//! The sandbox as the gateway sees it.

use std::rc::Rc;

use cabana_protocol::{Error, KeyId, SandboxId, table::Descriptor};
use futures_util::{FutureExt, future::LocalBoxFuture};
use worker::{Request, Response, State};

use super::{
    audit::{Asked, Entry},
    forward::forward,
    life::{Life, not_found},
    now,
    wake::{Finding, HANG},
};
use crate::{
    Principal, RequestId,
    gateway::{Backend, Busy},
    lifecycle::{Event, Instant},
    log, revocation,
};

impl Backend for Life {
    fn state(&self) -> &State {
        &self.state
    }

    fn sandbox(&self, principal: &Principal) -> Result<SandboxId, Error> {
        self.admit(principal)?;
        self.record.borrow().as_ref().map(|record| record.id.clone()).ok_or_else(not_found)
    }

    fn call(self: Rc<Self>, request: Request) -> LocalBoxFuture<'static, Result<Response, Error>> {
        async move { forward(&self, &request, &RequestId::of(request.headers())).await }.boxed_local()
    }

    fn is_well(self: Rc<Self>) -> LocalBoxFuture<'static, bool> {
        async move {
            let incarnation = self.incarnation();
            let event = match self.examine(HANG).await {
                Finding::Well(_) => return true,
                Finding::Gone => Event::Unreachable,
                Finding::Hangs => Event::Unresponsive,
            };
            self.note(self.happen_to(incarnation, event));
            false
        }
        .boxed_local()
    }

    fn asleep(&self, operation: &Descriptor) -> Option<&'static str> {
        let up = self.lifecycle().is_some_and(|lifecycle| lifecycle.is_up());
        operation.asleep.filter(|_| !up)
    }

    fn busy(self: Rc<Self>, operation: &Descriptor) -> Option<Busy> {
        operation.asleep.is_none().then(|| Box::new(self.begin()) as Busy)
    }

    fn enter(self: Rc<Self>, principal: &Principal, operation: &str, id: &str) -> Option<Entry> {
        Life::enter(&self, &Asked { principal, operation, request_id: id, at: now() })
    }

    fn is_revoked(self: Rc<Self>, key: &KeyId) -> LocalBoxFuture<'_, bool> {
        async move {
            let Some(database) = self.listing.database() else { return false };
            revocation::is_revoked(database, key).await.unwrap_or_else(|error| {
                log::warn(None, &format!("whether a key was revoked cannot be told: {}", error.message));
                false
            })
        }
        .boxed_local()
    }

    fn expires(self: Rc<Self>, at_ms: Option<u64>) {
        self.credentials_end.set(at_ms.map(Instant));
        self.rearm();
    }
}
