//! The end of a container, and of a sandbox.

use std::{rc::Rc, time::Duration};

use cabana_protocol::{Error, sandbox::Reason};
use futures_util::FutureExt;

use super::{alarm::Armed, life::Life, start::look_for_end};
use crate::{
    container::{Container, message},
    lifecycle::{Effect, Event},
    log,
};

impl Life {
    /// Ends the container and forgets everything. Does nothing where there is no sandbox.
    pub(super) async fn destroy(self: &Rc<Self>) -> Result<(), Error> {
        let effects = self.advance(Event::Destroy)?;
        for effect in effects {
            match effect {
                Effect::End => self.end().await,
                Effect::Wipe => self.wipe().await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Frees the storage once the directory knows, unless a sandbox of the same name was created meanwhile.
    pub(super) async fn wipe(self: &Rc<Self>) -> Result<(), Error> {
        if self.is_gone() && self.listing.exists() {
            self.list();
            return Ok(());
        }
        self.free().await
    }

    /// Frees the storage, unless it holds a sandbox; but for the audit, which stays for its time.
    pub(super) async fn free(&self) -> Result<(), Error> {
        if !self.is_gone() {
            return Ok(());
        }
        if self.audit.is_kept()? {
            self.records.drop_tables()?;
            return self.arm().await;
        }
        self.armed.set(Armed::No);
        self.audit.forget();
        self.records.wipe().await
    }

    /// Whether a container runs that should not: its end is under way, has failed, or was cut short.
    pub(super) fn has_stray(&self) -> bool {
        self.lifecycle().is_none_or(|lifecycle| lifecycle.is_over()) && self.runs()
    }

    /// Why the container has ended, if it has.
    pub(super) async fn look_for_end(&self) -> Option<Reason> {
        look_for_end(self.container.as_ref()?).await
    }

    /// Ends the container if one runs. All who want that at once wait for the same end.
    pub(super) async fn end(self: &Rc<Self>) {
        let under_way = self.ending.borrow().clone();
        if let Some(ending) = under_way {
            return ending.await;
        }
        if !self.runs() {
            return;
        }
        let life = Rc::clone(self);
        let ending = async move {
            if let Some(Err(error)) = future_of(life.container.as_ref().map(Container::end)).await {
                log::warn(None, &format!("ending a container failed: {}", message(&error)));
            }
            life.ending.replace(None);
        };
        let ending = ending.boxed_local().shared();
        self.ending.replace(Some(ending.clone()));
        ending.await;
    }

    /// The same for the container of one start: a later one is left alone.
    pub(super) async fn end_of(self: &Rc<Self>, incarnation: u64) {
        if self.incarnation() == incarnation {
            self.end().await;
        }
    }

    /// Has the container outlast the object's time in memory.
    pub(super) async fn keep(&self, time: Duration) {
        if let Some(container) = self.container.as_ref().filter(|container| container.running())
            && let Err(error) = container.outlast(time).await
        {
            log::error(None, &format!("a container may end with its object's time in memory: {}", message(&error)));
        }
    }
}

async fn future_of<F: Future>(future: Option<F>) -> Option<F::Output> {
    match future {
        Some(future) => Some(future.await),
        None => None,
    }
}
