//! Up and down: waking a sandbox for whoever needs its agent, and what its owner asks of its container.

use std::{pin::pin, rc::Rc, time::Duration};

use cabana_protocol::{
    Code, Error,
    health::Health,
    sandbox::{Reason, State},
};
use futures_util::future::{self, Either};
use serde_json::json;
use worker::Delay;

use super::{
    life::{Life, not_found},
    now,
    probe::{Answer, probe},
};
use crate::{
    fault,
    lifecycle::{Event, Instant, Lifecycle},
    tenant::Place,
};

/// How often a request looks whether a container that is on its way down has ended.
const STOPPING_POLL: Duration = Duration::from_millis(20);

/// How long an agent may leave a question for its health unanswered before it is taken to hang. It runs before everything else in the
/// sandbox, so that not even an overloaded one takes so long.
pub(super) const HANG: Duration = Duration::from_secs(10);

/// How long an answer of the agent vouches for the next one. Nobody watches the container of a sandbox that is idle, so the first use
/// after a while looks before it hands over a request that could not be repeated.
const TRUST: Duration = Duration::from_secs(5);

/// How the agent was found.
#[derive(Debug)]
pub(super) enum Finding {
    /// It is there.
    Well(Health),
    /// It is not, or another is there.
    Gone,
    /// It is there, and does not answer.
    Hangs,
}

impl Life {
    /// Waits until the agent answers, starting the container where none runs, and returns the agent's secret.
    ///
    /// Fails with `not_found`, `gone` (its lifetime is over), and with `container_not_ready` when `CABANA_START_TIMEOUT_MS` is spent, where
    /// the start goes on, or while a sandbox that fails again and again is left alone. Many may wait for one start.
    pub(super) async fn awake(self: &Rc<Self>) -> Result<String, Error> {
        let timeout = self.config.clone()?.start_timeout;
        // Where it runs, which is nearly always, the first is done before the second sets its timer.
        match future::select(pin!(self.wake()), pin!(Delay::from(timeout))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => {
                let message = format!("the sandbox is still starting after {} ms", timeout.as_millis());
                Err(fault::not_ready(message))
            }
        }
    }

    async fn wake(self: &Rc<Self>) -> Result<String, Error> {
        loop {
            let Some(lifecycle) = self.lifecycle() else { return Err(not_found()) };
            match lifecycle.state {
                State::Destroyed => return Err(expired()),
                State::Running if self.is_trusted() => return Ok(self.secret()),
                State::Running => self.check().await?,
                State::Stopping => Delay::from(STOPPING_POLL).await,
                State::Starting => self.started().await?,
                State::Created | State::Sleeping | State::Failed => match lifecycle.retry_at(now()) {
                    Some(retry_at) => return Err(left_alone(&lifecycle, retry_at)),
                    None => {
                        let Some(tenant) = self.owner() else { return Err(not_found()) };
                        self.admission.take(Place::Running, &tenant).await?;
                        self.happen(Event::Wake)?;
                    }
                },
            }
        }
    }

    /// Stops the container, and waits until it has ended. Does nothing where none runs. Fails with `not_found`.
    pub(super) async fn stop(self: &Rc<Self>) -> Result<(), Error> {
        self.happen(Event::Stop)?;
        loop {
            match self.current() {
                None => return Err(not_found()),
                Some(State::Stopping) => Delay::from(STOPPING_POLL).await,
                Some(_) => return Ok(()),
            }
        }
    }

    /// Notes that the agent has answered, or that it is to be asked before it is trusted again.
    pub(super) fn trust(&self, answered: bool) {
        self.answered_at.set(answered.then(now));
    }

    fn is_trusted(&self) -> bool {
        self.answered_at.get().is_some_and(|at| now().since(at) < TRUST)
    }

    /// Asks the agent how it is, and takes the consequences.
    async fn check(self: &Rc<Self>) -> Result<(), Error> {
        let incarnation = self.incarnation();
        match self.examine(HANG).await {
            Finding::Well(_) => Ok(()),
            Finding::Gone => self.happen_to(incarnation, Event::Unreachable),
            Finding::Hangs => self.happen_to(incarnation, Event::Unresponsive),
        }
    }

    /// Asks the agent how it is.
    pub(super) async fn examine(&self, limit: Duration) -> Finding {
        let Ok(agent) = self.container().and_then(|container| container.agent().map_err(|_| fault::not_ready(""))) else {
            return Finding::Gone;
        };
        match probe(&agent, &self.secret(), limit).await {
            Answer::Ours(health) => {
                self.trust(true);
                Finding::Well(health)
            }
            Answer::Silence => Finding::Hangs,
            Answer::Nobody | Answer::Foreign | Answer::TooOld(_) => Finding::Gone,
        }
    }

    /// What a finding means for a sandbox that nobody is about to use.
    pub(super) async fn learn(&self, finding: Finding) -> Event {
        match finding {
            Finding::Well(health) => {
                let active_at = Instant(now().0.saturating_sub(health.idle_ms));
                Event::Seen { busy: health.busy > 0, active_at }
            }
            Finding::Gone => match self.look_for_end().await {
                Some(reason) => Event::Ended(reason),
                None => Event::Unresponsive,
            },
            Finding::Hangs => Event::Unresponsive,
        }
    }

    pub(super) fn secret(&self) -> String {
        self.record.borrow().as_ref().map(|record| record.secret.clone()).unwrap_or_default()
    }

    async fn started(&self) -> Result<(), Error> {
        let outcome = self.start.borrow().clone();
        match outcome {
            Some(outcome) => outcome.await.unwrap_or_else(|_| Err(fault::not_ready("the start was cut short"))),
            None => Err(Error::internal("a sandbox is starting that nobody starts")),
        }
    }
}

fn expired() -> Error {
    let details = json!({ "reason": Reason::Expired });
    Error::new(Code::Gone, "the sandbox's lifetime is over").with_details(details)
}

fn left_alone(lifecycle: &Lifecycle, retry_at: Instant) -> Error {
    let wait = u64::try_from(retry_at.since(now()).as_millis()).unwrap_or(u64::MAX).max(1);
    let reason = lifecycle.failure.as_ref().map(|(reason, _)| reason);
    let message = "the sandbox has failed again and again, and is left alone for a while";
    Error::new(Code::ContainerNotReady, message).with_details(json!({ "retry_after_ms": wait, "reason": reason }))
}
