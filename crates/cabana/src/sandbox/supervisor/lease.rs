//! What whoever needs the agent is given: the right to use the container of one start, until that is over.

use std::rc::Rc;

use cabana_protocol::{Error, sandbox::State};

use super::{Platform, Rows, Supervisor, backing_off, being_reset, expired, not_found};
use crate::{
    fault,
    lifecycle::{Event, Lifecycle},
};

/// Something that keeps the sandbox awake, until it is dropped.
pub(in crate::sandbox) struct Activity<P: Platform, R: Rows>(Rc<Supervisor<P, R>>);

impl<P: Platform, R: Rows> Drop for Activity<P, R> {
    fn drop(&mut self) {
        let now = self.0.now();
        self.0.report(self.0.store.touch(|lifecycle| Lifecycle::over(lifecycle, now)));
    }
}

/// The container of one start, whose agent answers. While there are leases, the agent is watched.
pub(in crate::sandbox) struct Lease<P: Platform, R: Rows> {
    supervisor: Rc<Supervisor<P, R>>,
    incarnation: u64,
    secret: String,
    _activity: Option<Activity<P, R>>,
}

impl<P: Platform, R: Rows> Supervisor<P, R> {
    /// Keeps the sandbox awake until the guard is dropped.
    pub(in crate::sandbox) fn begin(self: &Rc<Self>) -> Activity<P, R> {
        let now = self.now();
        self.report(self.store.touch(|lifecycle| Lifecycle::begin(lifecycle, now)));
        Activity(Rc::clone(self))
    }

    /// Waits until the agent answers, starting the container where none runs, and lends it. The lease keeps the sandbox awake.
    ///
    /// Fails with `not_found`, `gone` (its lifetime is over), and with `container_not_ready` or `too_many_requests` when
    /// `CABANA_START_TIMEOUT_MS` is spent, where the start goes on, or while a sandbox that fails again and again is not started. Many may
    /// wait for one start.
    pub(in crate::sandbox) async fn ready(self: &Rc<Self>) -> Result<Lease<P, R>, Error> {
        let activity = self.begin();
        self.lease(Some(activity)).await
    }

    /// The same, for what only looks: it does not keep the sandbox awake.
    pub(in crate::sandbox) async fn ready_quietly(self: &Rc<Self>) -> Result<Lease<P, R>, Error> {
        self.lease(None).await
    }

    async fn lease(self: &Rc<Self>, activity: Option<Activity<P, R>>) -> Result<Lease<P, R>, Error> {
        let patience = self.patience.clone()?;
        // Where it runs, which is nearly always, the first is done before the second sets its timer.
        match self.limited(patience, self.wake()).await {
            Some(outcome) => outcome?,
            None => return Err(self.overdue(&format!("after {} ms", patience.as_millis()))),
        }
        let (incarnation, secret) = {
            let record = self.store.record()?;
            (record.incarnation, record.secret.clone())
        };
        self.leases.set(self.leases.get() + 1);
        self.watch();
        Ok(Lease { supervisor: Rc::clone(self), incarnation, secret, _activity: activity })
    }

    async fn wake(self: &Rc<Self>) -> Result<(), Error> {
        loop {
            let Some(lifecycle) = self.store.lifecycle() else { return Err(not_found()) };
            match lifecycle.state {
                State::Destroyed => return Err(expired()),
                _ if self.resetting.get() => return Err(being_reset()),
                State::Running if self.is_trusted() => return Ok(()),
                State::Running => self.verify().await,
                State::Stopping => {
                    // One that only sleeps because nobody uses it goes on, unless its files are safe already.
                    self.apply(Event::Wake)?;
                    if self.store.state() == Some(State::Stopping) {
                        self.stopped_or_ended(lifecycle.since).await;
                    }
                }
                State::Starting => self.started().await?,
                State::Created | State::Sleeping | State::Failed => match lifecycle.retry_at(self.now()) {
                    Some(retry_at) => return Err(backing_off(&lifecycle, retry_at, self.now())),
                    None => {
                        let Some(tenant) = self.store.owner() else { return Err(not_found()) };
                        self.platform.acquire_running(&tenant).await?;
                        self.apply(Event::Wake)?;
                    }
                },
            }
        }
    }

    /// What to tell a request whose patience is spent.
    fn overdue(&self, when: &str) -> Error {
        if let Some((condition, words)) = self.condition.borrow().as_ref() {
            return condition.error(words);
        }
        match self.store.state() {
            Some(State::Running) => fault::not_ready(format!("the sandbox's agent does not answer {when}; it is still tried")),
            Some(State::Stopping) => fault::not_ready(format!("the sandbox is still stopping {when}")),
            _ => fault::not_ready(format!("the sandbox is still starting {when}")),
        }
    }

    async fn started(&self) -> Result<(), Error> {
        let outcome = self.start.borrow().clone();
        match outcome {
            Some(outcome) => outcome.await.unwrap_or_else(|_| Err(fault::not_ready("the start was cut short"))),
            None => Err(Error::internal("a sandbox is starting that nobody starts")),
        }
    }
}

impl<P: Platform, R: Rows> Lease<P, R> {
    /// Whose it is.
    pub(in crate::sandbox) fn supervisor(&self) -> &Rc<Supervisor<P, R>> {
        &self.supervisor
    }

    /// What the agent of this start asks for.
    pub(in crate::sandbox) fn secret(&self) -> &str {
        &self.secret
    }

    /// The agent has answered something.
    pub(in crate::sandbox) fn answered(&self) {
        if self.supervisor.store.incarnation() == self.incarnation {
            self.supervisor.answered();
        }
    }

    /// A call has failed: the agent is probed before it is used again.
    pub(in crate::sandbox) fn failed(&self) {
        if self.supervisor.store.incarnation() == self.incarnation {
            self.supervisor.doubt();
        }
    }

    /// Ends when the container of this lease is no longer to be used: it has ended, was given up, or the object is being reset.
    pub(in crate::sandbox) async fn lost(&self) {
        loop {
            let changed = self.supervisor.changed.wait();
            if !self.supervisor.is_running_at(self.incarnation) || self.supervisor.resetting.get() {
                return;
            }
            let _ = changed.await;
        }
    }
}

impl<P: Platform, R: Rows> Drop for Lease<P, R> {
    fn drop(&mut self) {
        let leases = self.supervisor.leases.get() - 1;
        self.supervisor.leases.set(leases);
        if leases == 0 {
            self.supervisor.end_watch();
        }
    }
}
