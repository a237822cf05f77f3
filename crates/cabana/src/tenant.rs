//! What a tenant may have at once: sandboxes, and running ones. One Durable Object for each tenant counts them, so that no two requests can
//! both take the last place.
//!
//! It is asked where a sandbox is made, started, ended or destroyed, and nowhere else: operations go past it. Each place is held by a
//! sandbox's name, so that to ask twice takes one. A place whose holder never said that it was done with it is found when there is no other
//! left: the holders are asked.

#![allow(missing_docs, reason = "what #[durable_object] generates has none")]

pub(crate) mod admission;
pub(crate) mod archives;
mod leases;
pub mod limits;
pub(crate) mod place;
pub mod rate;

use cabana_protocol::{Code, Error, decode_own};
use futures_util::future::join_all;
use serde_json::json;
use worker::{Date, DurableObject, Env, Request, Response, State, durable_object};

use self::{
    leases::{Lease, Leases},
    limits::Limits,
    place::{Call, Place},
};
use crate::{RequestId, reply, request};

/// Largest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 4 << 10;

/// A place that was taken just now is not asked about: its holder may be on its way.
const GRACE_MS: u64 = 60_000;

/// How many holders are asked at once.
const ASKED_AT_ONCE: usize = 32;

/// The Durable Object class to name in wrangler.jsonc beside [`Sandbox`](crate::Sandbox): `"class_name": "Tenant"`, with SQLite storage,
/// bound as `TENANT`. The object of a tenant is the one of its name.
#[durable_object]
#[allow(missing_debug_implementations)]
pub struct Tenant {
    state: State,
    env: Env,
}

impl Tenant {
    async fn answer(&self, mut request: Request, request_id: &RequestId) -> Result<Response, Error> {
        let odd = |_| Error::internal("a call to the tenant cannot be understood");
        if request.path() == archives::PATH {
            let body = request::read_body(&mut request, archives::MAX_BODY_BYTES).await?;
            let answer = archives::answer(&self.state, decode_own(&body).map_err(odd)?).await?;
            return Ok(reply::json(200, &answer, request_id));
        }
        let body = request::read_body(&mut request, MAX_BODY_BYTES).await?;
        let call: Call = decode_own(&body).map_err(odd)?;
        let leases = Leases::new(self.state.storage())?;
        if !call.take {
            leases.give(call.place, &call.holder)?;
            return Ok(reply::empty(request_id));
        }
        let name = self.state.id().name().unwrap_or_default();
        let tenant = name.parse()?;
        let limits = Limits::read(&self.env, &tenant)?;
        if call.place == Place::Running {
            // A sandbox from before there was a limit, or whose place was lost, is counted from its next start on.
            let _taken = leases.take(Place::Sandbox, &call.holder, now(), None)?;
        }
        let limit = limits.of_place(call.place);
        if let Err(used) = leases.take(call.place, &call.holder, now(), limit)? {
            self.heal(&leases, call.place, &tenant).await?;
            if leases.take(call.place, &call.holder, now(), limit)?.is_err() {
                return Err(full(call.place, limit.unwrap_or_default(), used));
            }
        }
        Ok(reply::empty(request_id))
    }

    /// Asks those holders that were not asked for the longest time, and takes back what they do not hold.
    async fn heal(&self, leases: &Leases, place: Place, tenant: &cabana_protocol::Tenant) -> Result<(), Error> {
        let before = now().saturating_sub(GRACE_MS);
        let asked = leases.oldest(place, before, ASKED_AT_ONCE)?;
        let answers = join_all(asked.iter().map(|lease| admission::holds(&self.env, tenant, &lease.holder, place))).await;
        for (lease, holds) in asked.iter().zip(answers) {
            let Lease { holder, .. } = lease;
            match holds {
                // Whoever cannot be asked keeps its place.
                None | Some(true) => leases.confirm(place, holder, now())?,
                Some(false) => leases.give(place, holder)?,
            }
        }
        Ok(())
    }
}

impl DurableObject for Tenant {
    fn new(state: State, env: Env) -> Self {
        Self { state, env }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let request_id = RequestId::of(request.headers());
        let answer = self.answer(request, &request_id).await;
        Ok(answer.unwrap_or_else(|error| reply::error(&error, &request_id)))
    }

    async fn alarm(&self) -> worker::Result<Response> {
        // The platform tries an alarm again that has failed.
        let swept = archives::on_alarm(&self.state, &self.env).await;
        swept.map_err(|error| worker::Error::RustError(error.message))?;
        Response::empty()
    }
}

fn now() -> u64 {
    Date::now().as_millis()
}

fn full(place: Place, limit: u64, used: u64) -> Error {
    let (has, what, retry_after_ms) = match place {
        Place::Sandbox => ("has", "sandboxes", 60_000),
        Place::Running => ("runs", "sandboxes", 10_000),
        Place::Snapshot => ("has", "snapshots", 60_000),
    };
    let details = json!({ "quota": place, "limit": limit, "used": used, "retry_after_ms": retry_after_ms });
    Error::new(Code::TooManyRequests, format!("this tenant {has} {used} {what} already")).with_details(details)
}
