//! Each request as the gateway sees it come and go: how often a tenant may ask, and the line that the log has of it.

use std::cell::{OnceCell, RefCell};

use cabana::{
    Principal, RequestId,
    log::{self, Answered},
    tenant::{limits::Limits, rate::Rates},
};
use cabana_protocol::Error;
use worker::{Date, Env, Request, Response};

thread_local! {
    /// One isolate has one thread.
    static RATES: RefCell<Rates> = RefCell::default();
}

/// The route of everything that is for a preview.
const PREVIEW: &str = "preview";

/// One request, from when it came.
#[derive(Debug)]
pub struct Visit {
    request_id: RequestId,
    method: String,
    route: String,
    came_ms: u64,
    caller: OnceCell<Principal>,
}

impl Visit {
    /// A request that has come just now.
    pub fn begin(request: &Request, request_id: &RequestId) -> Self {
        Self {
            request_id: request_id.clone(),
            method: request.inner().method(),
            route: log::route(&request.path()),
            came_ms: Date::now().as_millis(),
            caller: OnceCell::new(),
        }
    }

    /// Its caller is known now. The operator's requests are not limited.
    ///
    /// Fails with `too_many_requests`, with the `quota`, its `limit`, how much is `used`, and `retry_after_ms`.
    pub fn admit(&self, caller: &Principal, env: &Env) -> Result<(), Error> {
        let caller = self.caller.get_or_init(|| caller.clone());
        let limit = Limits::read(env, &caller.tenant)?.requests_per_minute.filter(|_| !caller.operator);
        match limit {
            Some(limit) => RATES.with_borrow_mut(|rates| rates.take(&caller.tenant, limit, self.came_ms)),
            None => Ok(()),
        }
    }

    /// It was answered: writes its line. Those whose callers could not say who they are have one here, and an entry in no audit: nobody
    /// unknown makes a sandbox's object write.
    pub fn end(&self, response: &Response) {
        self.log(&self.route, response);
    }

    /// The same for a request to a preview. Its path is a program's, and its host may hold a token: neither is logged.
    pub fn end_preview(&self, response: &Response) {
        self.log(PREVIEW, response);
    }

    fn log(&self, route: &str, response: &Response) {
        let caller = self.caller.get();
        let answered = Answered {
            request_id: self.request_id.as_str(),
            method: &self.method,
            route,
            status: response.status_code(),
            duration_ms: Date::now().as_millis().saturating_sub(self.came_ms),
            principal: caller.map(|caller| caller.id.as_str()),
            tenant: caller.map(|caller| caller.tenant.as_str()),
        };
        answered.log();
    }
}
