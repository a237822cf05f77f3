//! `GET /v1/sandboxes/{id}/metrics`. It wakes nothing: what the agent would say is asked of one that is up anyway.

use std::{pin::pin, rc::Rc, time::Duration};

use cabana_protocol::{
    Error, Operation,
    metrics::Metrics,
    sandbox::State,
    system::{Stats, Usage},
};
use futures_util::future::{self, Either};
use worker::{Delay, Method, Request, RequestInit, Response};

use super::life::Life;
use crate::{RequestId, metrics::prometheus, reply};

/// How long the agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers in the form that is asked for: `Accept: text/plain` or `?format=prometheus` for Prometheus.
pub(super) async fn answer(life: &Rc<Life>, request: &Request, request_id: &RequestId) -> Result<Response, Error> {
    let url = request.url().map_err(|error| Error::internal(error.to_string()))?;
    let format = url.query_pairs().find(|(name, _)| name == "format").map(|(_, format)| format);
    let accept = request.headers().get("accept").ok().flatten().unwrap_or_default();
    let for_prometheus = match format.as_deref() {
        Some("prometheus") => true,
        Some("json") => false,
        Some(_) => return Err(Error::invalid_request("format must be json or prometheus")),
        None => accept.trim_start().starts_with("text/plain") || accept.trim_start().starts_with("application/openmetrics-text"),
    };
    let metrics = measure(life).await?;
    if !for_prometheus {
        return Ok(reply::json(200, &metrics, request_id));
    }
    Ok(reply::text(prometheus::MEDIA_TYPE, prometheus::text(&metrics), request_id))
}

async fn measure(life: &Rc<Life>) -> Result<Metrics, Error> {
    let sandbox = life.describe()?;
    let counters = life.audit.counters()?;
    let (bytes_in, bytes_out) = counters.bytes();
    let running = sandbox.state == State::Running;
    Ok(Metrics {
        sandbox: sandbox.id,
        state: sandbox.state,
        running_since: running.then_some(sandbox.since),
        starts: sandbox.starts,
        wakeups: sandbox.wakeups,
        requests: counters.requests(),
        open_requests: life.audit.open_count(),
        bytes_in,
        bytes_out,
        durations: counters.durations(),
        usage: if running { usage(life).await } else { None },
    })
}

/// What the sandbox uses, in the word of its agent; `None` where it does not answer.
async fn usage(life: &Life) -> Option<Usage> {
    match future::select(pin!(ask(life)), pin!(Delay::from(PATIENCE))).await {
        Either::Left((usage, _)) => usage.ok(),
        Either::Right(_) => None,
    }
}

async fn ask(life: &Life) -> worker::Result<Usage> {
    let failed = |error: Error| worker::Error::RustError(error.message);
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some("{}".into()));
    let url = format!("http://sandbox/v1/{}", Stats::NAME.replace('.', "/"));
    let request = Request::new_with_init(&url, &init)?;
    request.headers().set("authorization", &format!("Bearer {}", life.secret()))?;
    let mut answer = life.container().map_err(failed)?.agent()?.fetch_request(request).await?;
    answer.json().await
}
