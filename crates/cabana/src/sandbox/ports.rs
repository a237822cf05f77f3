//! Ports that are reached from outside: their records, and the calls that change them. Visits are in [`visit`].

mod exposure;
mod hold;
mod visit;

use std::rc::Rc;

use cabana_protocol::{
    Code, Error,
    preview::{ExposePort, ExposedPort, ExposedPorts},
};
use serde_json::json;
use worker::{Method, Request, Response};

use self::exposure::Exposure;
use super::object::Object;
use crate::{
    Principal, RequestId,
    clock::{now, rfc3339},
    create,
    lifecycle::Instant,
    preview::{Port, visit::PATH as VISIT_PATH},
    random, reply,
    request::{decode, read_body},
    wire::PORTS_PATH,
};

/// Most ports of one sandbox.
const MAX_PORTS: usize = 64;

/// What a request has to do with ports.
pub(super) enum Call {
    /// All of them.
    All,
    /// One of them.
    One(Port),
    /// A program that listens on one.
    Visit,
}

impl Call {
    /// Reads a path; `None` where it is about something else.
    pub(super) fn parse(path: &str) -> Option<Self> {
        if path.strip_prefix(VISIT_PATH).is_some_and(|rest| rest.starts_with('/')) {
            return Some(Self::Visit);
        }
        match path.strip_prefix(PORTS_PATH)? {
            "" => Some(Self::All),
            one => one.strip_prefix('/')?.parse().ok().map(Self::One),
        }
    }

    /// Answers. Fails with `not_found` where the caller sees no such sandbox or port, and as [`ExposePort`] says.
    pub(super) async fn answer(
        self,
        object: &Rc<Object>,
        principal: &Principal,
        mut request: Request,
        request_id: &RequestId,
    ) -> Result<Response, Error> {
        if let Self::Visit = self {
            return Ok(visit::answer(object, principal, &request, request_id).await);
        }
        object.store.admit(principal)?;
        // There must be a sandbox for the port to belong to.
        object.id()?;
        match (self, request.method()) {
            (Self::All, Method::Post) => {
                let asked = decode(&read_body(&mut request, create::MAX_BODY_BYTES).await?)?;
                let (port, new) = object.expose(asked)?;
                Ok(reply::json(if new { 201 } else { 200 }, &port, request_id))
            }
            (Self::One(port), Method::Delete) => object.close(port).map(|()| reply::empty(request_id)),
            (Self::One(port), _) => Ok(reply::json(200, &object.exposed(port)?, request_id)),
            (Self::All | Self::Visit, _) => Ok(reply::json(200, &object.all_exposed()?, request_id)),
        }
    }
}

impl Object {
    /// Exposes a port, or changes how it is exposed; true where it was not.
    fn expose(&self, request: ExposePort) -> Result<(ExposedPort, bool), Error> {
        let (address, now) = (self.address()?, now().0);
        let present = self.exposures()?;
        let own = present.iter().find(|exposure| exposure.port.number() == request.port);
        if own.is_none() && present.len() >= MAX_PORTS {
            let message = format!("the sandbox exposes {MAX_PORTS} ports already: close one");
            return Err(Error::new(Code::Conflict, message).with_details(json!({ "reason": "limit", "limit": MAX_PORTS })));
        }
        let exposure = Exposure::of(request, own, &address, now, random::name)?;
        if let Some(other) = present.iter().find(|other| other.shares_token_with(&exposure)) {
            // A visitor who has the URL of one port would have that of the other.
            let (message, port) =
                (format!("port {} has this token already: each port has its own", other.port), other.port.number());
            return Err(Error::new(Code::Conflict, message).with_details(json!({ "reason": "token_in_use", "port": port })));
        }
        if own != Some(&exposure) {
            self.store.rows().save_port(exposure.port.number(), &exposure)?;
        }
        Ok((self.show(&exposure)?, own.is_none()))
    }

    /// Exposes a port no longer.
    fn close(&self, port: Port) -> Result<(), Error> {
        self.store.rows().remove_port(port.number())
    }

    fn exposed(&self, port: Port) -> Result<ExposedPort, Error> {
        let exposure = self.exposure(port)?;
        exposure
            .map(|exposure| self.show(&exposure))
            .transpose()?
            .ok_or_else(|| Error::not_found("this port has no URL: expose it first").because("not_exposed"))
    }

    fn all_exposed(&self) -> Result<ExposedPorts, Error> {
        let ports = self.exposures()?.iter().map(|exposure| self.show(exposure)).collect::<Result<_, _>>()?;
        Ok(ExposedPorts { ports })
    }

    fn exposure(&self, port: Port) -> Result<Option<Exposure>, Error> {
        let found: Option<Exposure> = self.store.rows().port(port.number())?;
        Ok(found.filter(|exposure| !exposure.is_expired(now().0)))
    }

    /// All that have not expired; those that have are forgotten.
    fn exposures(&self) -> Result<Vec<Exposure>, Error> {
        let now = now().0;
        let (expired, left): (Vec<_>, Vec<_>) =
            self.store.rows().ports::<Exposure>()?.into_iter().partition(|exposure| exposure.is_expired(now));
        expired.iter().try_for_each(|exposure| self.store.rows().remove_port(exposure.port.number()))?;
        Ok(left)
    }

    fn show(&self, exposure: &Exposure) -> Result<ExposedPort, Error> {
        let config = self.config.clone()?;
        Ok(exposure.describe(&self.address()?, config.hosts.previews(), |at| rfc3339(Instant(at))))
    }
}
