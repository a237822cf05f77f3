//! `file.watch` and `file.changes`: what changes below a directory, from inotify(7).
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`watcher`] | the kernel's watches and what their events mean |
//! | `watcher/cover.rs` | placing watches on a directory and all below it |
//! | [`directories`] | the directory that was asked for; which directory a watch stands for, and where it is now |
//! | [`batch`] | the changes of one moment, those that say nothing new left out |
//! | [`polled`] | `file.changes`: watches for callers who come back to ask |
//! | [`patterns`] | what is told and what is not |

mod batch;
mod directories;
mod patterns;
mod polled;
mod watcher;

pub use polled::PolledWatches;

use std::{sync::Arc, time::Duration};

use cabana_protocol::{
    Code, Error,
    exec::MAX_TIMEOUT_MS,
    file::{Change, Watch, WatchEnd, Watched},
    names::invalid_field,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::{
    Agent,
    dispatch::{Channel, Run},
    limits, threads,
    waiting::if_any,
};
use watcher::Watcher;

/// How long changes are gathered before they are told.
const GATHER: Duration = Duration::from_millis(50);

impl Run<Watch> for Agent {
    async fn run(self, request: Watch, channel: Channel<Watch>) -> Result<Watched, Error> {
        let timeout = match request.timeout_ms {
            None => None,
            Some(timeout @ 1..=MAX_TIMEOUT_MS) => Some(Duration::from_millis(timeout)),
            Some(_) => return Err(invalid_field("timeout_ms", &format!("a whole number from 1 to {MAX_TIMEOUT_MS}"))),
        };
        if request.limit == Some(0) {
            return Err(invalid_field("limit", "a whole number from 1"));
        }
        let _permit = acquire_permit(&self)?;
        let (limit, agent) = (request.limit, self.clone());
        let watcher = self.fs.run(move |_| Watcher::open(agent, &request)).await?;
        tokio::select! {
            watched = report(watcher, limit, &channel.events) => watched,
            () = if_any(timeout.map(tokio::time::sleep)) => Ok(Watched { reason: WatchEnd::TimedOut }),
            () = channel.cancel.cancelled() => Err(Error::new(Code::Interrupted, "the watch was cancelled")),
        }
    }
}

/// A place among the watches that may run.
///
/// Fails with `too_many_requests`.
fn acquire_permit(agent: &Agent) -> Result<OwnedSemaphorePermit, Error> {
    let permit = Arc::clone(&agent.watches).try_acquire_owned();
    permit.map_err(|_| limits::reached(agent.limits.watches, "watches are open"))
}

/// Tells what happens until the watch ends.
async fn report(mut watcher: Watcher, limit: Option<u32>, events: &mpsc::Sender<Change>) -> Result<Watched, Error> {
    let inotify = Arc::clone(watcher.inotify());
    let mut left = limit.unwrap_or(u32::MAX);
    send(events, Change::Ready {}).await?;
    loop {
        if left == 0 {
            return Ok(Watched { reason: WatchEnd::Limit });
        }
        let ready = inotify.readable().await;
        let mut ready = ready.map_err(|error| Error::internal(format!("cannot wait for changes: {error}")))?;
        tokio::time::sleep(GATHER).await;
        ready.clear_ready();
        let mut more = true;
        while more {
            // It may have to read directories that are new.
            let taken = threads::run_next(move || (watcher.take(), watcher)).await;
            let batch;
            (batch, watcher) = taken.ok_or_else(|| Error::internal("the watch broke off"))?;
            let batch = batch?;
            for change in batch.changes.into_iter().take(left as usize) {
                send(events, change).await?;
                left = if limit.is_some() { left - 1 } else { left };
            }
            if let Some(reason) = batch.end.filter(|_| left > 0) {
                return Ok(Watched { reason });
            }
            more = batch.more && left > 0;
        }
    }
}

async fn send(events: &mpsc::Sender<Change>, change: Change) -> Result<(), Error> {
    events.send(change).await.map_err(|_| Error::internal("the client has disconnected"))
}
