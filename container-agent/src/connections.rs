//! The connections that are open.
//!
//! Everybody in the sandbox can open connections to the agent's port, so an open connection by itself takes no permit. A connection is
//! *idle* until a request on it has shown the secret, and again between requests. Idle connections are bounded, and the one that has been
//! idle for the longest time is closed first. A request that is *admitted* holds one of `CABANA_MAX_CONNECTIONS` permits until its answer
//! has been sent. `/health` needs no permit: it answers however much is open.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use cabana_protocol::Error;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::limits;

/// Idle connections that are open at once, where there are descriptors enough.
const IDLE: usize = 1_024;

/// All connections; clones share them.
#[derive(Debug, Clone)]
pub struct Connections {
    permits: Arc<Semaphore>,
    limit: usize,
    idle_limit: usize,
    idle: Arc<Mutex<Idle>>,
    tasks: TaskTracker,
}

/// The idle ones, by when they became so.
#[derive(Debug, Default)]
struct Idle {
    now: u64,
    since: BTreeMap<u64, CancellationToken>,
}

/// One connection, from its acceptance to its end; clones mean the same one.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Arc<Open>);

#[derive(Debug)]
struct Open {
    connections: Connections,
    /// Set when it has ended, or is to end.
    closing: CancellationToken,
    /// Where it stands among the idle ones, while it is idle.
    idle: Mutex<Option<u64>>,
    /// The agent's end waits for it.
    _task: TaskTrackerToken,
}

/// Holds one permit while a request is answered. A WebSocket keeps it past the upgrade.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    connection: Connection,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// None yet, and at most so many with an admitted request. Idle ones take a quarter of the descriptors that there may be, admitted
    /// ones another: commands and files need some, too.
    pub fn new(limit: usize) -> Self {
        let descriptors = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
        Self::with_descriptors(limit, descriptors.unwrap_or(usize::MAX))
    }

    fn with_descriptors(limit: usize, descriptors: usize) -> Self {
        let share = (descriptors / 4).max(1);
        let (limit, idle_limit) = (limit.min(share), IDLE.min(share));
        let permits = Arc::new(Semaphore::new(limit));
        Self { permits, limit, idle_limit, idle: Arc::default(), tasks: TaskTracker::new() }
    }

    /// Counts a connection that was accepted. Closes the one that has been idle for the longest time where there are too many.
    pub(crate) fn open(&self) -> Connection {
        let open = Open {
            connections: self.clone(),
            closing: CancellationToken::new(),
            idle: Mutex::default(),
            _task: self.tasks.token(),
        };
        let connection = Connection(Arc::new(open));
        connection.rest();
        connection
    }

    /// Closes the connection that has been idle for the longest time. False where none is idle.
    pub(crate) fn shed(&self) -> bool {
        let oldest = self.with(|idle| idle.since.pop_first());
        oldest.is_some_and(|(_, closing)| {
            closing.cancel();
            true
        })
    }

    /// Waits until all have ended; no more are opened.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn with<T>(&self, change: impl FnOnce(&mut Idle) -> T) -> T {
        change(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Connection {
    /// Admits a request that has shown the secret.
    ///
    /// Fails with `too_many_requests`.
    pub(crate) fn admit(&self) -> Result<ConnectionPermit, Error> {
        let Connections { permits, limit, .. } = &self.0.connections;
        let permit = Arc::clone(permits).try_acquire_owned();
        let permit = permit.map_err(|_| limits::reached(*limit, "connections have a request under way"))?;
        self.leave();
        Ok(ConnectionPermit { connection: self.clone(), _permit: permit })
    }

    /// Set when it is to be closed.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    /// It has ended.
    pub(crate) fn end(&self) {
        self.0.closing.cancel();
        self.leave();
    }

    /// It becomes idle, unless it has ended.
    fn rest(&self) {
        let Open { connections, closing, idle: place, .. } = &*self.0;
        let crowded = connections.with(|idle| {
            if closing.is_cancelled() {
                return false;
            }
            idle.now += 1;
            idle.since.insert(idle.now, closing.clone());
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(idle.now);
            idle.since.len() > connections.idle_limit
        });
        if crowded {
            connections.shed();
        }
    }

    /// It is no longer idle.
    fn leave(&self) {
        self.0.connections.with(|idle| {
            let place = mem::take(&mut *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner));
            place.and_then(|place| idle.since.remove(&place))
        });
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connection.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_connection_is_closed_first() {
        let connections = Connections::with_descriptors(1, usize::MAX);
        let open: Vec<_> = (0..=IDLE).map(|_| connections.open()).collect();
        let closed = || open.iter().filter(|connection| connection.closing().is_cancelled()).count();
        assert!(open[0].closing().is_cancelled());
        assert_eq!(closed(), 1);
        let permit = open[1].admit().unwrap();
        open[2].end();
        connections.open();
        connections.open();
        assert_eq!(closed(), 2, "two have made room, and one of them has ended itself");
        connections.open();
        assert!(open[3].closing().is_cancelled(), "a request under way is not idle");
        assert!(!open[1].closing().is_cancelled());
        drop(permit);
        assert!(open[4].closing().is_cancelled(), "it is the newest idle one now");
        while connections.shed() {}
        assert!(open[1].closing().is_cancelled());
    }

    #[test]
    fn requests_above_the_limit_are_refused() {
        let connections = Connections::new(1);
        let (one, other) = (connections.open(), connections.open());
        let permit = one.admit().unwrap();
        assert_eq!(other.admit().unwrap_err().code, cabana_protocol::Code::TooManyRequests);
        drop(permit);
        other.admit().unwrap();
    }

    #[test]
    fn few_descriptors_make_the_limits_smaller() {
        let connections = Connections::with_descriptors(1_024, 256);
        assert_eq!((connections.limit, connections.idle_limit), (64, 64));
    }
}
