//! Saving the files of a container.
//!
//! A snapshot is stored before anything follows from it. An object that ends in between takes another one, and the one that nobody knows of
//! is forgotten by the platform in time.

use std::{rc::Rc, time::Duration};

use cabana_protocol::{Code, Error, sandbox::State};
use futures_util::FutureExt;
use serde_json::json;

use super::{Platform, Rows, Supervisor, not_found};
use crate::{
    fault,
    lifecycle::{Event, Saved},
    log,
    sandbox::quiesce::BEFORE_SLEEP_MS,
};

impl<P: Platform, R: Rows> Supervisor<P, R> {
    /// Saves the files of the container of this incarnation, unless that is under way: how it went is the next event.
    pub(super) async fn save(self: &Rc<Self>, incarnation: u64) {
        if self.saving.borrow().is_some() {
            return;
        }
        let this = Rc::clone(self);
        let saving = async move {
            let outcome = this.quiesce_and_snapshot(incarnation).await;
            this.saving.replace(None);
            match outcome {
                Some(Ok(saved)) => this.apply_for(incarnation, Event::Saved(saved)),
                Some(Err(words)) => {
                    log::error(None, &format!("a snapshot has failed, and the sandbox stays up: {words}"));
                    this.apply_for(incarnation, Event::Unsaved(words));
                }
                None => {}
            }
        };
        let saving = saving.boxed_local().shared();
        self.saving.replace(Some(saving.clone()));
        saving.await;
    }

    /// Ends the processes of a container that is to end, and takes a snapshot; `None` where the sandbox is needed again before it has begun.
    async fn quiesce_and_snapshot(self: &Rc<Self>, incarnation: u64) -> Option<Result<Saved, String>> {
        let ends = self.is_unsaved_at(incarnation);
        if ends {
            let (secret, before_sleep) = {
                let record = self.store.record().ok()?;
                (record.secret.clone(), record.before_sleep.clone())
            };
            let own = before_sleep.as_ref().map_or(0, |_| BEFORE_SLEEP_MS);
            let limit = self.timings().platform_limit + Duration::from_millis(own);
            match self.limited(limit, self.platform.quiesce(&secret, before_sleep)).await {
                Some(Ok(())) => {}
                Some(Err(words)) => {
                    log::warn(None, &format!("a sandbox was not prepared for its sleep, and is saved as it is: {words}"))
                }
                None => log::warn(None, &format!("a sandbox was not prepared for its sleep within {} ms", limit.as_millis())),
            }
            if !self.is_unsaved_at(incarnation) {
                return None;
            }
        }
        Some(self.snapshot().await)
    }

    async fn snapshot(&self) -> Result<Saved, String> {
        let (at, limit) = (self.now(), self.timings().snapshot_limit);
        match self.limited(limit, self.platform.snapshot()).await {
            Some(Ok((id, size_bytes))) => Ok(Saved { id, at, size_bytes }),
            Some(Err(words)) => Err(words),
            None => Err(format!("the platform has not taken a snapshot within {} ms", limit.as_millis())),
        }
    }

    fn is_unsaved_at(&self, incarnation: u64) -> bool {
        self.store.record().is_ok_and(|record| record.incarnation == incarnation && record.lifecycle.is_unsaved())
    }

    /// The files as they are now: of a sandbox that runs, a new snapshot; of one that is down, what its next start begins with.
    ///
    /// Fails with `not_found`, `conflict` (nothing was saved yet, or files are not kept), and `container_not_ready`.
    pub(in crate::sandbox) async fn snapshot_now(self: &Rc<Self>) -> Result<Saved, Error> {
        loop {
            let changed = self.changed.wait();
            let Some(lifecycle) = self.store.lifecycle() else { return Err(not_found()) };
            if !lifecycle.keeps_files(self.store.rules()) {
                return Err(Error::new(Code::Conflict, "the sandbox does not keep files").because("ephemeral"));
            }
            match lifecycle.state {
                State::Running => break,
                State::Starting | State::Stopping => {
                    let patience = self.patience.clone()?;
                    if self.limited(patience, changed).await.is_none() {
                        return Err(fault::not_ready("the sandbox is still on its way up or down"));
                    }
                }
                State::Created | State::Sleeping | State::Failed | State::Destroyed => {
                    let nothing = || Error::new(Code::Conflict, "nothing of the sandbox was saved yet").because("nothing_saved");
                    return lifecycle.files.saved.ok_or_else(nothing);
                }
            }
        }
        let incarnation = self.store.incarnation();
        let _activity = self.begin();
        match self.snapshot().await {
            Ok(saved) => {
                self.apply_for(incarnation, Event::Saved(saved.clone()));
                Ok(saved)
            }
            Err(words) => {
                self.apply_for(incarnation, Event::Unsaved(words.clone()));
                Err(failed(&words))
            }
        }
    }

    /// Has the next start begin with this snapshot. The sandbox must be down.
    ///
    /// Fails with `not_found`, and with `conflict` where it has come up meanwhile.
    pub(in crate::sandbox) fn restore(self: &Rc<Self>, saved: Saved) -> Result<(), Error> {
        let id = saved.id.clone();
        self.apply(Event::Restore(saved))?;
        let lifecycle = self.store.lifecycle().ok_or_else(not_found)?;
        let is_taken = lifecycle.is_over() && lifecycle.files.saved.is_some_and(|saved| saved.id == id);
        let conflict = || Error::new(Code::Conflict, "the sandbox was started meanwhile").because("started");
        if is_taken { Ok(()) } else { Err(conflict()) }
    }

    /// Starts the sandbox, so that the platform keeps its files, and lets it go again unless somebody uses it meanwhile.
    pub(super) async fn renew(self: &Rc<Self>) {
        let lease = self.ready_quietly().await;
        match lease {
            Ok(lease) => drop(lease),
            Err(error) => {
                return log::error(None, &format!("the files of a sleeping sandbox were not renewed: {}", error.message));
            }
        }
        if self.store.lifecycle().is_some_and(|lifecycle| !lifecycle.is_busy()) {
            self.report(self.apply(Event::Stop));
        }
    }

    /// What to tell who has stopped a sandbox that stays up because its files are not safe.
    pub(super) fn check_stopped(&self) -> Result<(), Error> {
        let lifecycle = self.store.lifecycle().ok_or_else(not_found)?;
        match lifecycle.files.failure() {
            Some((words, ..)) if lifecycle.state == State::Running => Err(failed(words)),
            _ => Ok(()),
        }
    }
}

/// What to tell the caller: nothing was lost, and it may try again.
fn failed(words: &str) -> Error {
    let message = "the snapshot has failed; the sandbox stays up, and nothing is lost";
    let details = json!({ "reason": "snapshot_failed", "cause": words, "retry_after_ms": fault::RETRY_AFTER_MS });
    Error::new(Code::ContainerNotReady, message).with_details(details)
}
