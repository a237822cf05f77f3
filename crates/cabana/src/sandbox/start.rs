//! Starting a container and waiting for its agent; seeing it off.

use std::{collections::BTreeMap, pin::pin, rc::Rc, time::Duration};

use cabana_protocol::{Error, health::OLDEST_PROTOCOL, sandbox::Reason};
use futures_channel::oneshot;
use futures_util::{
    FutureExt,
    future::{self, Either, Shared},
};
use worker::Delay;

use super::{
    life::Life,
    now,
    probe::{Answer, probe},
    record::{Record, encode},
};
use crate::{
    container::{Container, Exit, Startup, message},
    fault,
    lifecycle::{Event, GRACE},
    log,
};

/// The variable by which the agent learns its secret.
const SECRET_VARIABLE: &str = "CABANA_AGENT_SECRET";

/// The variable by which the agent learns the sandbox's variables, as JSON: among the container's own, one that is not to be there
/// could not be named, and some would mean something to the agent itself.
const ENV_VARIABLE: &str = "CABANA_SANDBOX_ENV";

/// Has the agent write its log as everything else here does.
const LOG_FORMAT: (&str, &str) = ("CABANA_LOG_FORMAT", "json");

/// The first pause between two health checks; each is twice the one before, up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause between two health checks.
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// How long one health check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// How many containers one start may try: a container may seem to run and never answer.
const ATTEMPTS: u32 = 3;

/// How long a start goes on before somebody asks the platform whether the container has ended. That question cannot be taken back,
/// and keeps the object in memory while it is open: most starts are over before it is asked. After a failure it is asked at once.
const WATCH_AFTER: Duration = Duration::from_secs(2);

/// How long it takes at most to learn that a container has ended already.
const LOOK: Duration = Duration::from_secs(1);

/// How a start went, for everyone who waits for it.
pub(super) type Outcome = Shared<oneshot::Receiver<Result<(), Error>>>;

/// The outcome of a start, and the work that leads to it.
///
/// Unless `fresh`, the container that runs is kept and its agent waited for.
pub(super) fn start(life: Rc<Life>, incarnation: u64, fresh: bool) -> (Outcome, impl Future<Output = ()> + 'static) {
    let (sender, receiver) = oneshot::channel();
    let work = async move {
        let outcome = if fresh { bring_up(&life, incarnation).await } else { resume(&life, incarnation).await };
        let noted = match &outcome {
            Ok(()) => life.happen_to(incarnation, Event::Ready),
            Err((reason, _)) => life.happen_to(incarnation, Event::Ended(reason.clone())),
        };
        let told = match outcome {
            // What did not come back is started afresh: whoever waits looks again.
            Err(_) if !fresh => Ok(()),
            outcome => outcome.map_err(|(_, error)| error),
        };
        // Nobody may be waiting any more.
        let _ = sender.send(told.and(noted));
    };
    (receiver.shared(), work)
}

type Failed = (Reason, Error);

fn failed(message: impl Into<String>) -> Failed {
    let message = message.into();
    (Reason::StartFailed { message: message.clone() }, fault::not_ready(message))
}

/// Starts containers until one has an agent that answers, as far as the limit goes.
async fn bring_up(life: &Rc<Life>, incarnation: u64) -> Result<(), Failed> {
    let container = life.container().map_err(|error| (Reason::StartFailed { message: error.message.clone() }, error))?;
    let config = life.config.clone().map_err(|error| (Reason::StartFailed { message: error.message.clone() }, error))?;
    let just_failed = life.lifecycle().is_some_and(|lifecycle| lifecycle.has_just_failed(now()));
    let watch_after = if just_failed { Duration::ZERO } else { WATCH_AFTER };
    let mut last = failed("the container was not started");
    for _ in 0..ATTEMPTS {
        // What may be left of an earlier container has another secret.
        life.end().await;
        let Some(record) = life.record_of(incarnation) else { return Err(failed("the sandbox was stopped meanwhile")) };
        launch(container, &record, config.internet)?;
        match meet(container, &record.secret, watch_after, config.start_limit / ATTEMPTS).await {
            Ok(()) => return Ok(()),
            Err(Missed::Late(message)) => last = failed(message),
            Err(Missed::Never(failed)) => return Err(failed),
        }
    }
    Err(last)
}

/// Waits for the agent of the container that runs. Most that come here have ended, so that is asked at once.
async fn resume(life: &Life, incarnation: u64) -> Result<(), Failed> {
    let container = life.container().map_err(|error| failed(error.message))?;
    let Some(record) = life.record_of(incarnation) else { return Err(failed("the sandbox was stopped meanwhile")) };
    match meet(container, &record.secret, Duration::ZERO, CHECK_TIMEOUT * 2).await {
        Ok(()) => Ok(()),
        Err(Missed::Never((Reason::StartFailed { message }, error))) => Err((Reason::Crashed { message }, error)),
        Err(Missed::Never(failed)) => Err(failed),
        Err(Missed::Late(message)) => Err((Reason::Unresponsive, fault::not_ready(message))),
    }
}

fn launch(container: &Container, record: &Record, internet: bool) -> Result<(), Failed> {
    let kind = &record.kind;
    let image = container.image(kind).map_err(|_| failed(format!("there is no kind {kind:?} any more")))?;
    let variables = encode(&record.env).map_err(|error| failed(error.message))?;
    let env = BTreeMap::from([(SECRET_VARIABLE, record.secret.as_str()), (ENV_VARIABLE, &variables), LOG_FORMAT]);
    container
        .start(&Startup { image, instance: record.instance, internet, env })
        .map_err(|error| failed(format!("the container cannot be started: {}", message(&error))))
}

/// Why a container's agent was not met.
enum Missed {
    /// Another container may do better.
    Late(String),
    /// The container has ended, or has an agent that will not do.
    Never(Failed),
}

/// Waits for the agent of this start; its port refuses connections until it listens.
///
/// Whether the container has ended is asked after `watch_after`.
async fn meet(container: &Container, secret: &str, watch_after: Duration, limit: Duration) -> Result<(), Missed> {
    let ended = async {
        Delay::from(watch_after).await;
        container.exited().await
    };
    match future::select(pin!(answering(container, secret, limit)), pin!(ended)).await {
        Either::Left((met, _)) => met,
        Either::Right((exit, _)) => {
            Err(Missed::Never(failed(format!("the container ended while it started: {}", exit.message()))))
        }
    }
}

async fn answering(container: &Container, secret: &str, limit: Duration) -> Result<(), Missed> {
    let agent = container.agent().map_err(|error| Missed::Never(failed(message(&error))))?;
    let begun = now();
    let mut pause = FIRST_PAUSE;
    loop {
        match probe(&agent, secret, CHECK_TIMEOUT).await {
            Answer::Ours(_) => return Ok(()),
            Answer::Foreign => return Err(Missed::Late("the container that runs is not the one that was started".to_owned())),
            Answer::TooOld(health) => {
                let (version, protocol) = (health.version, health.protocol);
                let message = format!(
                    "the image's agent, version {version}, speaks protocol {protocol}, and {OLDEST_PROTOCOL} at least is needed: build the image anew"
                );
                return Err(Missed::Never(failed(message)));
            }
            Answer::Nobody | Answer::Silence => {}
        }
        if now().since(begun) >= limit {
            return Err(Missed::Late(format!("the agent did not answer within {} ms", limit.as_millis())));
        }
        Delay::from(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Why the container has ended, if it has.
pub(super) async fn look_for_end(container: &Container) -> Option<Reason> {
    if !container.running() {
        return Some(Reason::Evicted);
    }
    match future::select(pin!(container.exited()), pin!(Delay::from(LOOK))).await {
        Either::Left((exit, _)) => Some(exit.reason()),
        Either::Right(_) => None,
    }
}

/// Asks the container to end, and ends it if it does not.
pub(super) async fn see_off(life: Rc<Life>, incarnation: u64) {
    if let Ok(container) = life.container()
        && container.running()
    {
        if let Err(error) = container.terminate() {
            log::warn(None, &format!("asking a container to end failed: {}", message(&error)));
        }
        if let Either::Right(_) = future::select(pin!(container.exited()), pin!(Delay::from(GRACE))).await {
            life.end_of(incarnation).await;
        }
    }
    life.note(life.happen_to(incarnation, Event::Ended(Reason::Evicted)));
}

impl Exit {
    fn reason(self) -> Reason {
        match self {
            Self::Well => Reason::Evicted,
            Self::Failed(message) => Reason::Crashed { message },
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Well => "it exited with code 0",
            Self::Failed(message) => message,
        }
    }
}
