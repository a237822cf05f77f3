//! Who is calling? The one place where a token becomes a [`Principal`]; nothing else in the gateway looks at credentials.
//!
//! The operator's key is whatever the Worker's secret says. Any other token is told by its form:
//!
//! | form | what it is | who vouches for it |
//! | --- | --- | --- |
//! | `cab_<id>_<secret>` | an API key | the database, and the isolate's memory of it ([`key`]) |
//! | `cabt_<JWT>` | a connect token | the gateway's own signature, and the key that made it ([`connect`]) |
//! | `?link=<JWT>` | a link to one file | the gateway's own signature, and the key that made it ([`link`]) |
//! | `<JWT>` | a JWT of an issuer | one of the issuer's keys ([`jwt`]) |

mod algorithms;
pub mod authority;
pub mod connect;
pub mod credentials;
pub mod issuer;
pub mod jwks;
pub mod jwt;
pub mod link;
mod signature;

use std::{cell::RefCell, rc::Rc};

use cabana::{Code, Principal, cache::Cache};
use cabana_protocol::Error;
use sha2::{Digest, Sha256};
use worker::Request;

use self::{
    authority::{Authority, Trust},
    jwks::KeySet,
    jwt::Refusal,
};
use crate::{
    key::{self, lookup::Lookup},
    time,
};

/// How long a JWT that was found good is let in again without a look at its signature, in milliseconds. It ends by its own time, too.
const VERIFIED_MS: u64 = 60_000;
/// Most JWTs that are remembered.
const VERIFIED: usize = 1_024;

thread_local! {
    /// JWTs that were found good, by their digests: to verify a signature takes a thousand times as long as to look one up.
    static GOOD: RefCell<Cache<[u8; 32], Principal>> = const { RefCell::new(Cache::new(VERIFIED)) };
}

/// The header in which an operator names the tenant whose sandboxes it means. It may be any caller's own tenant, too.
const TENANT_HEADER: &str = "x-cabana-tenant";

/// Tells who is calling.
///
/// Fails with `unauthorized`, with `unavailable` where nobody may call or it cannot be told, and where the request names a tenant with
/// `invalid_request` (it is none) and `forbidden` (another one's).
pub async fn authenticate(request: &Request, lookup: Lookup<'_>) -> Result<Principal, Error> {
    let authority = Authority::of(lookup.env)?;
    let principal = admit(&authority, &credentials::of(request)?, lookup).await?;
    match request.headers().get(TENANT_HEADER).ok().flatten() {
        Some(tenant) => principal.acting_for(tenant.parse()?),
        None => Ok(principal),
    }
}

/// The same for a token that came neither in a header nor on a WebSocket: a preview's visitor brings it.
pub async fn authenticate_token(token: &str, lookup: Lookup<'_>) -> Result<Principal, Error> {
    let authority = Authority::of(lookup.env)?;
    admit(&authority, token, lookup).await
}

async fn admit(authority: &Authority, token: &str, lookup: Lookup<'_>) -> Result<Principal, Error> {
    if authority.is_operator(token) {
        return Ok(Principal::operator());
    }
    if let Some(presented) = key::Presented::parse(token) {
        return lookup.admit(&presented).await;
    }
    match token.strip_prefix(connect::PREFIX) {
        Some(token) => admit_connect_token(authority, token, lookup).await,
        None => admit_jwt(authority, token, lookup).await,
    }
}

async fn admit_connect_token(authority: &Authority, token: &str, lookup: Lookup<'_>) -> Result<Principal, Error> {
    let grant = authority.signer().ok().and_then(|signer| signer.verify(token, time::now())).ok_or_else(invalid)?;
    if let Some(key) = grant.key() {
        lookup.check(key).await?;
    }
    Ok(grant.principal())
}

async fn admit_jwt(authority: &Authority, token: &str, lookup: Lookup<'_>) -> Result<Principal, Error> {
    let Some(trust) = authority.trust().filter(|_| token.contains('.')) else { return Err(invalid()) };
    let digest = Sha256::digest(token).into();
    if let Some(principal) = remembered(&digest) {
        return Ok(principal);
    }
    let principal = verify(trust, token, lookup).await?;
    GOOD.with_borrow_mut(|good| good.put(digest, principal.clone(), time::now()));
    Ok(principal)
}

fn remembered(digest: &[u8; 32]) -> Option<Principal> {
    let now = time::now();
    GOOD.with_borrow(|good| {
        let (principal, _) = good.get(digest, now).filter(|(_, age)| *age < VERIFIED_MS)?;
        principal.expires_at_ms.is_none_or(|end| end > now).then(|| principal.clone())
    })
}

async fn verify(trust: &Trust, token: &str, lookup: Lookup<'_>) -> Result<Principal, Error> {
    // No issuer's key verifies what a secret signs, so that such a token waits for none.
    match trust.verifier.verify(token, &KeySet::default(), time::now()) {
        Err(Refusal::UnknownKey) => verify_by_issuer(trust, token, lookup).await,
        outcome => outcome.map_err(|refusal| refusal.error()),
    }
}

async fn verify_by_issuer(trust: &Trust, token: &str, lookup: Lookup<'_>) -> Result<Principal, Error> {
    let keys = trust.keys(lookup.context, false).await?;
    let outcome = match trust.verifier.verify(token, &keys, time::now()) {
        // The issuer may have a new key.
        Err(Refusal::UnknownKey) => {
            let newer = trust.keys(lookup.context, true).await?;
            let same = Rc::ptr_eq(&keys, &newer);
            if same { Err(Refusal::UnknownKey) } else { trust.verifier.verify(token, &newer, time::now()) }
        }
        outcome => outcome,
    };
    outcome.map_err(|refusal| refusal.error())
}

fn invalid() -> Error {
    Error::new(Code::Unauthorized, "the credential is not valid")
}
