//! Starting a container, waiting for its agent, and watching it until it ends.

use std::{collections::BTreeMap, pin::pin, rc::Rc, time::Duration};

use cabana_protocol::Error;
use futures_channel::oneshot;
use futures_util::{
    FutureExt,
    future::{self, Either, Shared},
};
use worker::{Date, Delay, Fetcher};

use super::{
    life::Life,
    record::{Record, encode},
};
use crate::{
    container::{Container, Startup, message},
    fault,
    lifecycle::Event,
};

/// The variable by which the agent learns its secret.
const SECRET_VARIABLE: &str = "CABANA_AGENT_SECRET";

/// The variable by which the agent learns the sandbox's variables, as JSON: among the container's own, one that is not to be there
/// could not be named, and some would mean something to the agent itself.
const ENV_VARIABLE: &str = "CABANA_SANDBOX_ENV";

/// The first pause between two health checks; each is twice the one before, up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause between two health checks.
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// How long one health check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause before a container is watched again after a watch that broke off.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// How a start went, for everyone who waits for it.
pub(super) type Outcome = Shared<oneshot::Receiver<Result<(), Error>>>;

/// The outcome of a start, and the work that leads to it and then watches the container until it ends.
///
/// Unless `fresh`, the container that runs is kept and its agent waited for.
pub(super) fn start(life: Rc<Life>, incarnation: u64, fresh: bool) -> (Outcome, impl Future<Output = ()> + 'static) {
    let (sender, receiver) = oneshot::channel();
    let work = async move {
        let outcome = bring_up(&life, incarnation, fresh).await;
        let noted = match &outcome {
            Ok(()) => life.happen_to(incarnation, Event::Ready),
            Err(error) => life.fail(incarnation, &error.message),
        };
        let up = outcome.is_ok();
        // Nobody may be waiting any more.
        let _ = sender.send(outcome.and(noted));
        if up {
            watch(life, incarnation).await;
        }
    };
    (receiver.shared(), work)
}

/// Waits until the container of this incarnation has ended, and lets the sandbox know.
pub(super) async fn watch(life: Rc<Life>, incarnation: u64) {
    let Ok(container) = life.container() else { return };
    if let Ok(config) = &life.config
        && let Err(error) = container.outlast(config.sleep_after).await
    {
        worker::console_error!("a container may end with its object's time in memory: {}", message(&error));
    }
    while container.running() && life.incarnation() == incarnation {
        container.exited().await;
        // The watch itself may have broken off, with the container still there.
        if container.running() {
            Delay::from(WATCH_PAUSE).await;
        }
    }
    if let Err(error) = life.happen_to(incarnation, Event::Exited) {
        worker::console_error!("noting a container's end failed: {}", error.message);
    }
}

async fn bring_up(life: &Life, incarnation: u64, fresh: bool) -> Result<(), Error> {
    let container = life.container()?;
    let config = life.config.clone()?;
    if fresh {
        // What may be left of an earlier container has another secret.
        life.end().await;
        let record = life.record_of(incarnation).ok_or_else(|| fault::not_ready("the sandbox was destroyed meanwhile"))?;
        launch(container, &record, config.internet)?;
    }
    let agent = container.agent().map_err(|error| fault::not_ready(message(&error)))?;
    match future::select(pin!(healthy(&agent, config.start_limit)), pin!(container.exited())).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right((reason, _)) => Err(fault::not_ready(format!("the container ended while it started: {reason}"))),
    }
}

fn launch(container: &Container, record: &Record, internet: bool) -> Result<(), Error> {
    let kind = record.id.kind();
    let image = container.image(kind).map_err(|_| Error::invalid_request(format!("there is no kind {kind:?} any more")))?;
    let variables = encode(&record.env)?;
    let env = BTreeMap::from([(SECRET_VARIABLE, record.secret.as_str()), (ENV_VARIABLE, &variables)]);
    container
        .start(&Startup { image, internet, env })
        .map_err(|error| fault::not_ready(format!("the container cannot be started: {}", message(&error))))
}

/// Asks until the agent is healthy; its port refuses connections until it listens.
async fn healthy(agent: &Fetcher, limit: Duration) -> Result<(), Error> {
    let started = Date::now().as_millis();
    let mut pause = FIRST_PAUSE;
    loop {
        if check(agent).await {
            return Ok(());
        }
        let elapsed = Duration::from_millis(Date::now().as_millis().saturating_sub(started));
        if elapsed >= limit {
            return Err(fault::not_ready(format!("the agent was not healthy after {} ms", limit.as_millis())));
        }
        Delay::from(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

async fn check(agent: &Fetcher) -> bool {
    let fetch = async {
        let Ok(mut response) = agent.fetch("http://sandbox/health", None).await else { return false };
        // Read to its end, so that the connection is free again.
        response.status_code() == 200 && response.bytes().await.is_ok()
    };
    future::select(pin!(fetch), pin!(Delay::from(CHECK_TIMEOUT))).map(|first| matches!(first, Either::Left((true, _)))).await
}
