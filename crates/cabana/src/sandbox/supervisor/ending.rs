//! Ending a container.

use std::{rc::Rc, time::Duration};

use cabana_protocol::sandbox::Reason;
use futures_util::FutureExt;

use super::{Platform, Rows, Supervisor};
use crate::{
    lifecycle::{Event, GRACE, Instant},
    log,
};

/// How long after an end that has failed it is tried again for those who wait.
const END_PAUSE: Duration = Duration::from_secs(1);

impl<P: Platform, R: Rows> Supervisor<P, R> {
    /// Ends the container if one runs; whether none runs any more. All who want that at once wait for the same end, which goes on where
    /// nobody waits for it. A platform that does not answer is given up after its limit, and asked again later.
    pub(super) async fn end_container(self: &Rc<Self>) -> bool {
        let under_way = self.ending.borrow().clone();
        if let Some(ending) = under_way {
            return ending.await;
        }
        if !self.platform.running() {
            return true;
        }
        let this = Rc::clone(self);
        let ending = async move {
            let limit = this.timings().platform_limit;
            let outcome = this.limited(limit, this.platform.destroy()).await;
            this.ending.replace(None);
            match outcome {
                Some(Ok(())) => {}
                Some(Err(words)) => log::warn(None, &format!("ending a container failed: {words}")),
                None => {
                    log::error(None, &format!("the platform has not ended a container within {} ms", limit.as_millis()));
                    this.reset("the platform does not end a container");
                }
            }
            let ended = !this.platform.running();
            this.failed_ends.set(if ended { 0 } else { this.failed_ends.get().saturating_add(1) });
            ended
        };
        let ending = ending.boxed_local().shared();
        self.ending.replace(Some(ending.clone()));
        self.platform.spawn(ending.clone().map(drop).boxed_local());
        ending.await
    }

    /// The same for the container of one start: a later one is left alone, and then nothing has ended.
    pub(super) async fn end_of(self: &Rc<Self>, incarnation: u64) -> bool {
        self.store.incarnation() == incarnation && self.end_container().await
    }

    /// Waits for a change of a sandbox that has been stopping since then. A caller that needs it does not wait for the alarm, whose attempts to end
    /// the container come less and less often.
    pub(super) async fn stopped_or_ended(self: &Rc<Self>, since: Instant) {
        let changed = self.changed.wait();
        if self.store.lifecycle().is_some_and(|lifecycle| lifecycle.is_unsaved()) {
            // Its files come first. Who waits has a limit.
            let _ = changed.await;
            return;
        }
        let left = (since + GRACE).since(self.now());
        if !left.is_zero() {
            let _ = self.limited(left, changed).await;
            return;
        }
        let incarnation = self.store.incarnation();
        if self.end_of(incarnation).await {
            self.apply_for(incarnation, Event::Ended(Reason::Evicted));
        } else {
            let _ = self.limited(END_PAUSE, changed).await;
        }
    }

    /// Asks the container to end, and ends it if it does not.
    pub(super) async fn stop_gracefully(self: &Rc<Self>, incarnation: u64) {
        // A snapshot that is not stored for good is no reason to let the container go.
        if let Some(Err(words)) = self.limited(self.timings().platform_limit, self.platform.sync()).await {
            log::error(None, &format!("the storage does not keep what was written: {words}"));
        }
        if self.platform.running() {
            if let Err(words) = self.platform.terminate() {
                log::warn(None, &format!("asking a container to end failed: {words}"));
            }
            let ended = self.limited(GRACE, self.platform.exited()).await.is_some();
            if !ended && !self.end_of(incarnation).await {
                // The alarm tries again.
                return;
            }
        } else if self.ask_for_end(incarnation).await.1 && self.reset("the platform has lost sight of a container that is to end")
        {
            // It is ended once the platform sees it again.
            return;
        }
        self.apply_for(incarnation, Event::Ended(Reason::Evicted));
    }
}
