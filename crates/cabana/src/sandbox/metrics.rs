//! `GET /v1/sandboxes/{id}/metrics`. It wakes nothing: what the agent would say is asked of one that is up anyway.

mod prometheus;

use std::{pin::pin, rc::Rc, time::Duration};

use cabana_protocol::{
    Error,
    metrics::Metrics,
    names::invalid_parameter,
    sandbox::State,
    system::{Stats, Usage},
};
use futures_util::future::{self, Either};
use worker::{Delay, Request, Response};

use super::{agent::Agent, object::Object};
use crate::{RequestId, clock::now, reply};

/// How long the agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers in the form that is asked for: `Accept: text/plain` or `?format=prometheus` for Prometheus.
pub(super) async fn answer(object: &Rc<Object>, request: &Request, request_id: &RequestId) -> Result<Response, Error> {
    let url = request.url().map_err(|error| Error::internal(error.to_string()))?;
    let format = url.query_pairs().find(|(name, _)| name == "format").map(|(_, format)| format);
    let accept = request.headers().get("accept").ok().flatten().unwrap_or_default();
    let for_prometheus = match format.as_deref() {
        Some("prometheus") => true,
        Some("json") => false,
        Some(_) => return Err(invalid_parameter("format", "`json` or `prometheus`")),
        None => accept.trim_start().starts_with("text/plain") || accept.trim_start().starts_with("application/openmetrics-text"),
    };
    let metrics = measure(object).await?;
    if !for_prometheus {
        return Ok(reply::json(200, &metrics, request_id));
    }
    Ok(reply::text(prometheus::MEDIA_TYPE, prometheus::text(&metrics), request_id))
}

async fn measure(object: &Rc<Object>) -> Result<Metrics, Error> {
    let sandbox = object.store.describe(now())?;
    let counters = object.audit.counters()?;
    let (bytes_in, bytes_out) = counters.bytes();
    let running = sandbox.state == State::Running;
    Ok(Metrics {
        sandbox: sandbox.id,
        state: sandbox.state,
        running_since: running.then_some(sandbox.since),
        starts: sandbox.starts,
        wakeups: sandbox.wakeups,
        requests: counters.requests(),
        open_requests: object.audit.open_count(),
        bytes_in,
        bytes_out,
        durations: counters.durations(),
        usage: if running { usage(object).await } else { None },
    })
}

/// What the sandbox uses, in the word of its agent; `None` where it does not answer.
async fn usage(object: &Rc<Object>) -> Option<Usage> {
    let ask = async {
        let lease = object.supervisor.ready_quietly().await.ok()?;
        Agent::new(&lease).ok()?.call(&Stats {}).await.ok()
    };
    match future::select(pin!(ask), pin!(Delay::from(PATIENCE))).await {
        Either::Left((usage, _)) => usage,
        Either::Right(_) => None,
    }
}
