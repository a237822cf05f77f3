//! Finding out whether the agent is alive. There is one prober, whoever asks; what its findings mean, [`Liveness`](crate::lifecycle::Liveness) says.

use std::{pin::pin, rc::Rc, time::Duration};

use cabana_protocol::sandbox::{Reason, State};
use futures_util::{
    FutureExt,
    future::{self, AbortHandle, Abortable, Either},
};

use super::{Platform, Rows, Supervisor};
use crate::{
    fault::Exit,
    lifecycle::{Event, Instant, Probe, Verdict},
    log,
};

/// How long a look may take, and the platform's word why a container has ended.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// How long a probe may be silent before another one is sent beside it.
const HEDGE: Duration = Duration::from_secs(2);

/// How long the agent of a container is waited for of which the platform has lost sight: to start another one would be to start it twice.
pub(super) const LOST_SIGHT: Duration = Duration::from_secs(3);

/// How often it is probed meanwhile.
const OUT_OF_SIGHT_POLL: Duration = Duration::from_millis(100);

/// How often it is looked whether a container still runs.
const STOPPED_POLL: Duration = Duration::from_millis(250);

impl<P: Platform, R: Rows> Supervisor<P, R> {
    /// Whether the sandbox runs, at this incarnation.
    pub(super) fn is_running_at(&self, incarnation: u64) -> bool {
        self.store.record().is_ok_and(|record| record.incarnation == incarnation && record.lifecycle.state == State::Running)
    }

    pub(super) fn is_trusted(&self) -> bool {
        let seen = self.platform.running() || self.out_of_sight.get();
        seen && self.liveness.borrow().is_trusted(self.now(), self.timings())
    }

    /// The agent has answered something: that is as good as its health.
    pub(super) fn answered(&self) {
        self.liveness.borrow_mut().answered(self.now());
    }

    /// A call to the agent has failed: it is probed, beside the next call or before it.
    pub(super) fn doubt(self: &Rc<Self>) {
        self.liveness.borrow_mut().doubt();
        self.spawn(|this| async move { this.verify().await });
    }

    /// Watches the agent while there are leases: one that says nothing for long is asked how it is. Long silence is no fault: a command may
    /// run for hours and print nothing.
    pub(super) fn watch(self: &Rc<Self>) {
        if self.watch.borrow().is_some() {
            return;
        }
        let (end, registration) = AbortHandle::new_pair();
        self.watch.replace(Some(end));
        self.spawn(|this| async move {
            let watching = async {
                loop {
                    this.platform.sleep(this.timings().probe_after).await;
                    if this.liveness.borrow().is_silent(this.now(), this.timings()) {
                        this.verify().await;
                    }
                }
            };
            let _: Result<(), _> = Abortable::new(watching, registration).await;
        });
    }

    pub(super) fn end_watch(&self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
    }

    /// Probes the agent of a sandbox that runs until it answers, or until its fate is known. All who ask at once share one prober.
    pub(super) async fn verify(self: &Rc<Self>) {
        let under_way = self.prober.borrow().clone();
        let prober = under_way.unwrap_or_else(|| {
            let this = Rc::clone(self);
            let probing = async move {
                this.probe_until_known(this.store.incarnation()).await;
                this.prober.replace(None);
            };
            let prober = probing.boxed_local().shared();
            self.prober.replace(Some(prober.clone()));
            // It goes on where nobody waits for it any more.
            self.platform.spawn(prober.clone().boxed_local());
            prober
        });
        prober.await;
    }

    async fn probe_until_known(self: &Rc<Self>, incarnation: u64) {
        while self.is_running_at(incarnation) && !self.resetting.get() {
            if !self.platform.running() {
                return self.inquire(incarnation).await;
            }
            let Ok(secret) = self.store.record().map(|record| record.secret.clone()) else { return };
            let limit = self.timings().probe_after;
            let outcome = match future::select(pin!(self.probe_hedged(&secret, limit)), pin!(self.stopped())).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(_) => continue,
            };
            if !self.is_running_at(incarnation) {
                return;
            }
            let now = self.now();
            let verdict = self.liveness.borrow_mut().probed(&outcome, now, self.timings());
            match verdict {
                Verdict::Trust => return,
                Verdict::Probe(at) => self.platform.sleep(at.since(now)).await,
                Verdict::Reconnect if self.reset("the agent does not answer over fresh connections") => return,
                Verdict::Reconnect | Verdict::Dead => {
                    log::error(None, &format!("the agent does not answer, and its container is given up: {outcome:?}"));
                    return self.apply_for(incarnation, Event::Ended(Reason::Unresponsive));
                }
            }
        }
    }

    /// Probes, over another connection now and then while the ones before are silent: one of them may be lost, or an agent slow.
    async fn probe_hedged(&self, secret: &str, limit: Duration) -> Probe {
        let end = self.now() + limit;
        let mut probes = vec![self.platform.probe(secret, limit)];
        loop {
            let answer = match future::select(future::select_all(probes.iter_mut()), self.platform.sleep(HEDGE)).await {
                Either::Left(((outcome, index, _), _)) => Some((outcome, index)),
                Either::Right(_) => None,
            };
            match answer {
                Some((Probe::Unreachable | Probe::TimedOut, index)) if probes.len() > 1 => drop(probes.swap_remove(index)),
                Some((outcome, _)) => return outcome,
                None => {
                    let left = end.since(self.now());
                    if !left.is_zero() {
                        probes.push(self.platform.probe(secret, left));
                    }
                }
            }
        }
    }

    /// Ends when the platform says that no container runs.
    async fn stopped(&self) {
        while self.platform.running() {
            self.platform.sleep(STOPPED_POLL).await;
        }
    }

    /// Learns why the container has ended, which is the next event.
    ///
    /// Where the platform tells of no exit of the program, its word is not enough: the connection by which it knows of the container may have
    /// broken. An agent that answers lives.
    pub(super) async fn inquire(self: &Rc<Self>, incarnation: u64) {
        if self.inquiring.replace(true) {
            // Whoever asks learns of it by the change.
            let _ = self.limited(LOOK * 2, self.changed.wait()).await;
            return;
        }
        let (exit, alive) = self.ask_for_end(incarnation).await;
        self.inquiring.set(false);
        self.out_of_sight.set(alive);
        if alive {
            // Where the object was reset a moment ago, the agent is used as it is.
            self.answered();
            self.reset("the platform has lost sight of a container that runs");
            return;
        }
        self.apply_for(incarnation, Event::Ended(exit.reason()));
    }

    /// How the container has ended by the platform's word, and whether its agent answers all the same.
    pub(super) async fn ask_for_end(&self, incarnation: u64) -> (Exit, bool) {
        let exit = self.limited(LOOK, self.platform.exited()).await;
        let alive = match &exit {
            Some(exit) if exit.is_of_program() => false,
            Some(exit) if !exit.is_hearsay() => self.answers(incarnation).await,
            // A connection may fail, too: one probe is no evidence.
            _ => self.limited(LOST_SIGHT, self.poll_out_of_sight(incarnation)).await.unwrap_or_default(),
        };
        (exit.unwrap_or(Exit::Evicted), alive)
    }

    async fn answers(&self, incarnation: u64) -> bool {
        let Ok(secret) = self.store.record().map(|record| record.secret.clone()) else { return false };
        let healthy = matches!(self.platform.probe(&secret, LOOK).await, Probe::Healthy(_));
        healthy && self.store.incarnation() == incarnation
    }

    /// Waits for the agent of this start, whatever the platform says of its container. False where that is of no interest any more.
    pub(super) async fn poll_out_of_sight(&self, incarnation: u64) -> bool {
        let wanted = || self.store.lifecycle().is_some_and(|lifecycle| !lifecycle.is_over());
        while self.store.incarnation() == incarnation && wanted() {
            if self.answers(incarnation).await {
                return true;
            }
            self.platform.sleep(OUT_OF_SIGHT_POLL).await;
        }
        false
    }

    /// Asks the agent of a sandbox that runs whether it has anything to do, and takes a step by its answer. Says whether it has.
    pub(super) async fn look_at_agent(self: &Rc<Self>, limit: Duration) -> bool {
        let incarnation = self.store.incarnation();
        let Ok(secret) = self.store.record().map(|record| record.secret.clone()) else { return false };
        let outcome = match future::select(self.platform.probe(&secret, limit), pin!(self.stopped())).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Probe::Unreachable,
        };
        if let Probe::Healthy(health) = outcome {
            if self.is_running_at(incarnation) {
                self.answered();
            }
            let active_at = Instant(self.now().0.saturating_sub(health.idle_ms));
            self.apply_for(incarnation, Event::Seen { busy: health.busy > 0, active_at });
            return health.busy > 0;
        }
        // A container that has just ended breaks its connections a moment before the platform says so.
        if self.limited(STOPPED_POLL * 2, self.stopped()).await.is_some() && self.is_running_at(incarnation) {
            self.inquire(incarnation).await;
        }
        self.apply_for(incarnation, Event::Unseen);
        false
    }
}
