//! `/v1/sandboxes/{id}/tokens`: connect tokens.

use cabana::{Address, Sandbox, SandboxId};
use cabana_protocol::{
    Error,
    token::{ConnectToken, CreateToken},
};
use worker::Response;

use crate::{
    BINDING,
    auth::{authority::Authority, connect::Grant},
    call::Call,
    time,
};

/// `POST /v1/sandboxes/{id}/tokens`
pub async fn create(mut call: Call, id: &SandboxId) -> Result<Response, Error> {
    let request: CreateToken = call.body().await?;
    let authority = Authority::of(&call.env)?;
    // Whose the sandbox is, its object knows, and to others it says that there is none.
    let address = Address::new(id.clone(), &call.principal.tenant);
    let sandbox = Sandbox::at(&call.env, BINDING, address)?.acting_for(&call.principal).show().await?;
    let grant = Grant::new(&request, id, &sandbox.tenant, &call.principal, time::now())?;
    let token = authority.signer()?.sign(&grant)?;
    Ok(call.json(201, &ConnectToken { token, expires_at: time::format(grant.expires_at_ms()) }))
}
