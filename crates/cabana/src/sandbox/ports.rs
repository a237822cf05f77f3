//! Ports that are reached from outside: their records, and the calls that change them. Visits are in [`visit`].

mod exposure;
mod hold;
mod visit;

use std::rc::Rc;

use cabana_protocol::{
    Code, Error,
    preview::{ExposePort, ExposedPort, ExposedPorts},
};
use js_sys::Date;
use serde_json::json;
use worker::{Method, Request, Response, wasm_bindgen::JsValue};

use self::exposure::Exposure;
use super::life::Life;
use crate::{
    Principal, RequestId, create,
    preview::{Port, visit::PATH as VISIT_PATH},
    random, reply,
    request::{decode, read_body},
};

/// Where the object answers for its ports: `POST` exposes, `GET` lists, and below it, `GET` and `DELETE` are about one.
pub(crate) const PORTS_PATH: &str = "/ports";

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
    pub(super) fn of(path: &str) -> Option<Self> {
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
        life: &Rc<Life>,
        principal: &Principal,
        mut request: Request,
        request_id: &RequestId,
    ) -> Result<Response, Error> {
        if let Self::Visit = self {
            return Ok(visit::answer(life, principal, &request, request_id).await);
        }
        life.admit(principal)?;
        // There must be a sandbox for the port to belong to.
        life.describe()?;
        match (self, request.method()) {
            (Self::All, Method::Post) => {
                let asked = decode(&read_body(&mut request, create::MAX_BODY_BYTES).await?)?;
                let (port, new) = life.expose(asked)?;
                Ok(reply::json(if new { 201 } else { 200 }, &port, request_id))
            }
            (Self::One(port), Method::Delete) => life.close(port).map(|()| reply::empty(request_id)),
            (Self::One(port), _) => Ok(reply::json(200, &life.exposed(port)?, request_id)),
            (Self::All | Self::Visit, _) => Ok(reply::json(200, &life.all_exposed()?, request_id)),
        }
    }
}

impl Life {
    /// Exposes a port, or changes how it is exposed; true where it was not.
    fn expose(&self, request: ExposePort) -> Result<(ExposedPort, bool), Error> {
        let (id, now) = (self.describe()?.id, now_ms());
        let present = self.exposures()?;
        let own = present.iter().find(|exposure| exposure.port.number() == request.port);
        if own.is_none() && present.len() >= MAX_PORTS {
            let message = format!("the sandbox exposes {MAX_PORTS} ports already: close one");
            return Err(Error::new(Code::Conflict, message).with_details(json!({ "limit": MAX_PORTS })));
        }
        let exposure = Exposure::of(request, own, &id, now, random::name)?;
        self.records.save_port(exposure.port.number(), &exposure)?;
        Ok((self.show(&exposure)?, own.is_none()))
    }

    /// Exposes a port no longer.
    fn close(&self, port: Port) -> Result<(), Error> {
        self.records.remove_port(port.number())
    }

    fn exposed(&self, port: Port) -> Result<ExposedPort, Error> {
        let exposure = self.exposure(port)?;
        exposure.map(|exposure| self.show(&exposure)).transpose()?.ok_or_else(|| Error::not_found("this port has no URL"))
    }

    fn all_exposed(&self) -> Result<ExposedPorts, Error> {
        let ports = self.exposures()?.iter().map(|exposure| self.show(exposure)).collect::<Result<_, _>>()?;
        Ok(ExposedPorts { ports })
    }

    fn exposure(&self, port: Port) -> Result<Option<Exposure>, Error> {
        let found: Option<Exposure> = self.records.port(port.number())?;
        Ok(found.filter(|exposure| !exposure.is_expired(now_ms())))
    }

    /// All that have not expired; those that have are forgotten.
    fn exposures(&self) -> Result<Vec<Exposure>, Error> {
        let now = now_ms();
        let (expired, left): (Vec<_>, Vec<_>) =
            self.records.ports::<Exposure>()?.into_iter().partition(|exposure| exposure.is_expired(now));
        expired.iter().try_for_each(|exposure| self.records.remove_port(exposure.port.number()))?;
        Ok(left)
    }

    fn show(&self, exposure: &Exposure) -> Result<ExposedPort, Error> {
        let config = self.config.clone()?;
        Ok(exposure.describe(&self.describe()?.id, config.hosts.previews(), rfc3339))
    }
}

fn now_ms() -> u64 {
    worker::Date::now().as_millis()
}

fn rfc3339(instant_ms: u64) -> String {
    String::from(Date::new(&JsValue::from_f64(instant_ms as f64)).to_iso_string())
}
