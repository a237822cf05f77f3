//! Starting a container and waiting for its agent.

use std::{collections::BTreeMap, pin::pin, rc::Rc, time::Duration};

use cabana_protocol::{
    Code, Error,
    health::OLDEST_PROTOCOL,
    network::NetworkLayers,
    sandbox::{Reason, Setup, State},
};
use futures_channel::oneshot;
use futures_util::{
    FutureExt,
    future::{self, Either, Shared},
};

use super::{
    Platform, Rows, Supervisor,
    probing::{LOOK, LOST_SIGHT},
};
use crate::{
    fault::{self, Condition, Exit},
    lifecycle::{Event, Instant, Probe},
    log,
    sandbox::{platform::Launch, record::Record},
};

/// The variable by which the agent learns its secret.
const SECRET_VARIABLE: &str = "CABANA_AGENT_SECRET";

/// The variable by which the agent learns that rules hold for what leaves its container: it trusts the authority of the interception, and
/// checks that nothing else gets out.
const RULES_VARIABLE: &str = "CABANA_NETWORK_RULES";

/// Has the agent write its log as everything else here does.
const LOG_FORMAT: (&str, &str) = ("CABANA_LOG_FORMAT", "json");

/// The first pause between two health checks; each is twice the one before, up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause between two health checks.
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// How long one health check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// How long a start goes on before the platform is asked whether the container has ended, although it says that one runs. That question
/// cannot be taken back, and keeps the object in memory while it is open: most starts are over before it is asked.
const WATCH_AFTER: Duration = Duration::from_secs(10);

/// The first pause before a start that the platform did not carry out is tried again; each is twice the one before, up to the last.
const FIRST_RETRY: Duration = Duration::from_millis(300);
const LAST_RETRY: Duration = Duration::from_secs(4);

/// How much of a start's time is kept for its last attempt.
const LAST_ATTEMPT: Duration = Duration::from_secs(1);

/// How long the platform's service may be out of reach before the object is reset for new connections to it.
const UNAVAILABLE_LIMIT: Duration = Duration::from_secs(20);

/// How a start went, for everyone who waits for it.
pub(super) type Outcome = Shared<oneshot::Receiver<Result<(), Error>>>;

/// Why a start came to nothing, for the record and for those who wait.
type Failure = (Reason, Error);

/// Why a container's agent is not ready.
enum NotReady {
    /// The sandbox was stopped, destroyed, or started anew meanwhile.
    Abandoned,
    /// Time is up.
    TimedOut,
    /// Another program answers, or another start's agent: the container that runs is not the one that was started.
    WrongAgent,
    /// It speaks an older wire than we understand.
    OlderAgent(String),
    /// The container has ended.
    Ended(Exit),
}

/// The outcome of a start, and the work that leads to it.
///
/// Unless `fresh`, the container that runs is kept and its agent waited for.
pub(super) fn start<P: Platform, R: Rows>(
    supervisor: Rc<Supervisor<P, R>>,
    incarnation: u64,
    fresh: bool,
) -> (Outcome, impl Future<Output = ()> + 'static) {
    let (sender, receiver) = oneshot::channel();
    let work = async move {
        let outcome = supervisor.bring_up(incarnation, fresh).await;
        if supervisor.resetting.get() {
            return;
        }
        let (event, told) = match outcome {
            Ok(()) => (Event::Ready, Ok(())),
            // What did not come back is started afresh: whoever waits looks again.
            Err((reason, _)) if !fresh => (Event::Ended(reason), Ok(())),
            Err((reason, error)) => (Event::Ended(reason), Err(error)),
        };
        supervisor.apply_for(incarnation, event);
        // Nobody may be waiting any more.
        let _ = sender.send(told);
    };
    (receiver.shared(), work)
}

fn failed(message: impl Into<String>) -> Failure {
    let message = message.into();
    (Reason::StartFailed { message: message.clone() }, fault::not_ready(message))
}

fn abandoned() -> Failure {
    failed("the sandbox was stopped while it started")
}

impl<P: Platform, R: Rows> Supervisor<P, R> {
    /// Starts containers until one has an agent that answers. All attempts share the start's one patience: what the platform does not do
    /// at once, it is asked again.
    async fn bring_up(self: &Rc<Self>, incarnation: u64, fresh: bool) -> Result<(), Failure> {
        let patience = self.store.rules().start_limit;
        let deadline = self.store.lifecycle().map_or(self.now(), |lifecycle| lifecycle.since) + patience;
        let (mut fresh, mut retry, begun) = (fresh, FIRST_RETRY, self.now());
        loop {
            if fresh {
                // What may be left of an earlier container has another secret.
                if !self.end_container().await {
                    self.lacks(Condition::Unavailable, "the platform does not end an earlier container".to_owned());
                    self.retry_or_give_up(&mut retry, deadline).await?;
                    continue;
                }
                let record = self.record_of(incarnation).ok_or_else(abandoned)?;
                let network = self.platform.layers(&record.kind, &record.network);
                let launch = launch(&record, network);
                if launch.network.has_rules() {
                    // Ahead of the start. Where it fails, nothing leaves the container, and its agent does not come up.
                    self.judge_by(&record.tenant, &launch.network, "the network rules of a container that starts are not set");
                }
                let started = self.platform.start(&launch);
                if let Err(words) = started {
                    let message = format!("the container cannot be started: {words}");
                    let condition = Condition::parse(&words).ok_or_else(|| failed(message))?;
                    self.lacks(condition, words);
                    self.retry_or_give_up(&mut retry, deadline).await?;
                    continue;
                }
            }
            // The object may be reset before the agent answers.
            self.spawn(|this| async move { this.extend_inactivity_timeout().await });
            match self.wait_until_ready(incarnation, deadline).await {
                Ok(()) => {
                    self.condition.replace(None);
                    self.answered();
                    return Ok(());
                }
                Err(NotReady::Abandoned) => return Err(abandoned()),
                Err(NotReady::TimedOut) => return Err(self.overdue_start(patience)),
                Err(NotReady::OlderAgent(message)) => {
                    let error = Error::new(Code::AgentUnavailable, message.clone());
                    return Err((Reason::StartFailed { message }, error));
                }
                Err(NotReady::WrongAgent) => {
                    log::warn(None, "the container that runs is not the one that was started, and is replaced");
                    self.retry_or_give_up(&mut retry, deadline).await?;
                }
                Err(NotReady::Ended(exit)) if !fresh => {
                    let message = exit.message().to_owned();
                    return Err((exit.reason(), fault::not_ready(message)));
                }
                Err(NotReady::Ended(Exit::Platform(condition, words))) => {
                    self.lacks(condition, words);
                    if condition == Condition::Unavailable
                        && self.now().since(begun) >= UNAVAILABLE_LIMIT
                        && self.reset("the platform's container service is out of reach")
                    {
                        return Err(abandoned());
                    }
                    self.retry_or_give_up(&mut retry, deadline).await?;
                }
                Err(NotReady::Ended(Exit::NoSnapshot(words))) => {
                    log::error(None, &format!("files of the sandbox are lost, and it starts without them: {words}"));
                    self.apply_for(incarnation, Event::Missing);
                    let forgotten = self.store.update(self.now(), |record| {
                        record.snapshot = None;
                        if record.lifecycle.files.saved.is_none() {
                            // The setup went with them.
                            record.setup = record.setup.take().map(|_| Setup::default());
                        }
                        Ok(())
                    });
                    self.report(forgotten);
                }
                // The platform has moved it, for instance from a machine that restarts.
                Err(NotReady::Ended(Exit::Evicted)) => {
                    self.lacks(Condition::Unavailable, "the platform has ended the container while it started".to_owned());
                    self.retry_or_give_up(&mut retry, deadline).await?;
                }
                Err(NotReady::Ended(exit)) => {
                    return Err(failed(format!("the container ended while it started: {}", exit.message())));
                }
            }
            fresh = true;
        }
    }

    /// Notes what the platform lacks, for those who wait.
    fn lacks(&self, condition: Condition, words: String) {
        log::warn(None, &format!("the platform does not start the container yet: {words}"));
        self.condition.replace(Some((condition, words)));
    }

    /// Waits before the next attempt, unless the start's patience is spent.
    async fn retry_or_give_up(&self, retry: &mut Duration, deadline: Instant) -> Result<(), Failure> {
        // What is left of the start's time is not given away: the last pause is shorter.
        let last = deadline.since(self.now()).saturating_sub(LAST_ATTEMPT);
        if last.is_zero() {
            return Err(self.overdue_start(self.store.rules().start_limit));
        }
        self.platform.sleep(last.min(*retry)).await;
        *retry = (*retry * 2).min(LAST_RETRY);
        Ok(())
    }

    /// Why a start whose time is up came to nothing: for the platform's reason where it has given one.
    fn overdue_start(&self, patience: Duration) -> Failure {
        match self.condition.take() {
            Some((condition, words)) => (condition.reason(words.clone()), condition.error(&words)),
            None => failed(format!("the agent did not answer within {} ms", patience.as_millis())),
        }
    }

    /// The record, while it is still the one of this incarnation and on its way up.
    fn record_of(&self, incarnation: u64) -> Option<Record> {
        let record = self.store.record().ok()?;
        (record.incarnation == incarnation && record.lifecycle.state == State::Starting).then(|| record.clone())
    }

    /// Waits for the agent of this start; its port refuses connections until it listens.
    async fn wait_until_ready(&self, incarnation: u64, deadline: Instant) -> Result<(), NotReady> {
        let ended = async {
            self.platform.sleep(WATCH_AFTER).await;
            self.platform.exited().await
        };
        let exit = match future::select(pin!(self.poll_until_ready(incarnation, deadline)), pin!(ended)).await {
            Either::Left((Err(NotReady::Ended(exit)), _)) | Either::Right((exit, _)) => exit,
            Either::Left((outcome, _)) => return outcome,
        };
        if !exit.is_hearsay() {
            return Err(NotReady::Ended(exit));
        }
        match self.limited(LOST_SIGHT, self.poll_out_of_sight(incarnation)).await {
            Some(true) => Ok(()),
            Some(false) => Err(NotReady::Abandoned),
            None => Err(NotReady::Ended(exit)),
        }
    }

    async fn poll_until_ready(&self, incarnation: u64, deadline: Instant) -> Result<(), NotReady> {
        let mut pause = FIRST_PAUSE;
        loop {
            let record = self.record_of(incarnation).ok_or(NotReady::Abandoned)?;
            match self.platform.probe(&record.secret, CHECK_LIMIT).await {
                Probe::Healthy(_) => return Ok(()),
                Probe::WrongAgent => return Err(NotReady::WrongAgent),
                Probe::OlderAgent(health) => {
                    let (version, protocol) = (health.version, health.protocol);
                    return Err(NotReady::OlderAgent(format!(
                        "the image's agent, version {version}, speaks protocol {protocol}, and {OLDEST_PROTOCOL} at least is needed: build the image anew"
                    )));
                }
                Probe::Unreachable | Probe::TimedOut => {}
            }
            if !self.platform.running() {
                let exit = self.limited(LOOK, self.platform.exited()).await;
                return Err(NotReady::Ended(exit.unwrap_or(Exit::Evicted)));
            }
            if self.now() >= deadline {
                return Err(NotReady::TimedOut);
            }
            self.platform.sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

fn launch(record: &Record, network: NetworkLayers) -> Launch {
    let variables = record.project_env.iter().chain(&record.env).map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut env = BTreeMap::from([(SECRET_VARIABLE, record.secret.clone()), (LOG_FORMAT.0, LOG_FORMAT.1.to_owned())]);
    if network.has_rules() {
        env.insert(RULES_VARIABLE, "true".to_owned());
    }
    let snapshot = record.lifecycle.files.saved.as_ref().map(|saved| saved.id.clone());
    Launch {
        kind: record.kind.clone(),
        instance: record.instance,
        snapshot,
        network,
        env,
        variables,
        roots: record.roots.clone(),
    }
}
