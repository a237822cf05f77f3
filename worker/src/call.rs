//! A request that was let in, with all that a handler needs to answer it.

use cabana::{Code, Database, Principal, RequestId, reply, request};
use cabana_protocol::{Error, names::invalid_parameter};
use serde::{Serialize, de::DeserializeOwned};
use worker::{Context, Env, Request, Response, Url};

/// Largest body of a request that the gateway answers itself, in bytes: 64 KiB.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// One request to a route of the gateway. It has no `Debug`: what it holds belongs into no log.
#[allow(missing_debug_implementations)]
pub struct Call {
    /// The request as it came.
    pub request: Request,
    /// Its URL, parsed.
    pub url: Url,
    /// The Worker's bindings and variables.
    pub env: Env,
    /// The database, counting what this request asks of it; `None` where the deployment has none.
    pub database: Option<Database>,
    /// Takes over work that outlasts the answer.
    pub context: Context,
    /// Who is calling.
    pub principal: Principal,
    /// The request's name.
    pub request_id: RequestId,
}

impl Call {
    /// Reads the body, which is a JSON object; none stands for all defaults.
    ///
    /// Fails with `invalid_request` and `payload_too_large`.
    pub async fn body<T: DeserializeOwned + Default>(&mut self) -> Result<T, Error> {
        request::decode(&request::read_body(&mut self.request, MAX_BODY_BYTES).await?)
    }

    /// The database. Fails with `not_implemented` where there is none.
    pub fn database(&self) -> Result<&Database, Error> {
        self.database.as_ref().ok_or_else(|| Error::new(Code::NotImplemented, "this deployment has no database"))
    }

    /// A parameter of the query; the last one where there are several of that name.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.url.query_pairs().filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
    }

    /// How many entries a page is to have, by the parameter `limit`: 1 to `most`.
    ///
    /// Fails with `invalid_request`.
    pub fn limit(&self, default: u32, most: u32) -> Result<u32, Error> {
        let Some(limit) = self.parameter("limit") else { return Ok(default) };
        let limit = limit.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.ok_or_else(|| invalid_parameter("limit", &format!("a whole number from 1 to {most}")))
    }

    /// Answers with JSON.
    pub fn json(&self, status: u16, value: &impl Serialize) -> Response {
        reply::json(status, value, &self.request_id)
    }

    /// Answers with no content.
    pub fn empty(&self) -> Response {
        reply::empty(&self.request_id)
    }
}
