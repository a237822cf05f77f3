//! What is behind the gateway.

use std::rc::Rc;

use cabana_protocol::{Error, KeyId, SandboxId, table::Descriptor};
use futures_util::future::LocalBoxFuture;
use worker::{Request, Response, State};

use super::Busy;
use crate::{Principal, sandbox::audit::Entry};

/// What is behind the gateway.
pub(crate) trait Backend {
    /// The platform's handle on the object.
    fn state(&self) -> &State;

    /// The sandbox that it is. Fails with `not_found`, also for whom it is hidden from.
    fn sandbox(&self, principal: &Principal) -> Result<SandboxId, Error>;

    /// Wakes the sandbox and has its agent answer.
    fn call(self: Rc<Self>, request: Request) -> LocalBoxFuture<'static, Result<Response, Error>>;

    /// Asks the agent how it is, and sees to it that one that hangs is replaced.
    fn is_well(self: Rc<Self>) -> LocalBoxFuture<'static, bool>;

    /// What is answered without the agent, as JSON, because the operation does not wake a sandbox and this one sleeps.
    fn asleep(&self, operation: &Descriptor) -> Option<&'static str>;

    /// Keeps the sandbox awake for an operation.
    fn busy(self: Rc<Self>, operation: &Descriptor) -> Option<Busy>;

    /// Enters an operation of a client, under the client's id, in the audit.
    fn enter(self: Rc<Self>, principal: &Principal, operation: &str, id: &str) -> Option<Entry>;

    /// Whether an API key is known to be revoked.
    fn is_revoked(self: Rc<Self>, key: &KeyId) -> LocalBoxFuture<'_, bool>;

    /// The first of the clients' credentials end then, in milliseconds since 1970; `None` where none do.
    fn expires(self: Rc<Self>, at_ms: Option<u64>);
}
