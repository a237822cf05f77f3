//! `file.changes`: watches whose callers come back to ask. The kernel keeps what happens between two questions, so nobody has to wait
//! for it here.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cabana_protocol::{
    Error,
    file::{Change, GetChanges, RecentChanges, Watch},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{acquire_permit, watcher::Watcher};
use crate::{Agent, dispatch::Handle, memory::Held, threads};

/// How long a watch waits to be asked again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Changes that are kept for callers who ask again, and their bytes.
const MAX_CHANGES_KEPT: usize = 4_096;
const MAX_BYTES_KEPT: usize = 1 << 20;

/// What a change takes beside its paths.
const CHANGE_BYTES: usize = 64;

/// The next watch's number.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// The watches of callers that poll.
pub type PolledWatches = IdleTable<Watch, PolledWatch>;

/// Values by their keys, each of which goes when nobody has asked for it for a while. Clones are the same table.
#[derive(Debug)]
pub struct IdleTable<K, V>(Arc<Mutex<Table<K, V>>>);

#[derive(Debug)]
struct Table<K, V> {
    entries: Vec<Entry<K, V>>,
    /// Whether a task removes what nobody asks for.
    swept: bool,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: Arc<V>,
    asked: Instant,
}

/// A watch and what it has told. Locked while a caller takes what the kernel has kept, on a thread that may block.
#[derive(Debug, Default)]
pub struct PolledWatch(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    New,
    Open(Box<Open>),
    /// It is over, or was never there.
    Closed,
}

#[derive(Debug)]
struct Open {
    /// Its name in versions.
    name: String,
    watcher: Watcher,
    log: Log,
    /// The memory of the log.
    held: Held,
    _permit: OwnedSemaphorePermit,
}

/// The newest changes, numbered.
#[derive(Debug, Default)]
struct Log {
    changes: VecDeque<Change>,
    bytes: usize,
    /// How many there have been.
    end: u64,
    /// Changes from before this one are not known.
    lost: u64,
}

impl Log {
    fn push(&mut self, change: Change) {
        self.end += 1;
        match change {
            Change::Overflow {} => self.clear(),
            change => {
                self.bytes += size(&change);
                self.changes.push_back(change);
            }
        }
        while self.changes.len() > MAX_CHANGES_KEPT || self.bytes > MAX_BYTES_KEPT {
            self.bytes -= self.changes.pop_front().as_ref().map_or(self.bytes, size);
            self.lost = self.end - self.changes.len() as u64;
        }
    }

    /// Forgets all changes so far.
    fn clear(&mut self) {
        self.changes.clear();
        (self.bytes, self.lost) = (0, self.end);
    }

    /// What came after so many; none when that is not known.
    fn since(&self, count: u64) -> Option<Vec<Change>> {
        let first = self.end - self.changes.len() as u64;
        let known = (self.lost..=self.end).contains(&count);
        known.then(|| self.changes.iter().skip(usize::try_from(count - first).unwrap_or(usize::MAX)).cloned().collect())
    }
}

impl Handle<GetChanges> for Agent {
    async fn handle(&self, request: GetChanges) -> Result<RecentChanges, Error> {
        let agent = self.clone();
        self.fs.run(move |_| poll(&agent, request)).await
    }
}

fn poll(agent: &Agent, request: GetChanges) -> Result<RecentChanges, Error> {
    let GetChanges { path, recursive, include, exclude, since, session } = request;
    let request = Watch { path, recursive, include, exclude, limit: None, timeout_ms: None, session };
    loop {
        let watch = agent.polled.get(&request);
        let mut state = lock(&watch.0);
        if let State::New = *state {
            *state = State::Closed;
            match Open::new(agent, &request) {
                Ok(open) => *state = State::Open(Box::new(open)),
                Err(error) => {
                    agent.polled.remove(&watch);
                    return Err(error);
                }
            }
        }
        // Another caller may have seen its end in the meantime.
        let State::Open(open) = &mut *state else { continue };
        let over = open.take();
        let answer = open.answer(since.as_deref());
        if !matches!(over, Ok(false)) {
            *state = State::Closed;
            agent.polled.remove(&watch);
        }
        return over.map(|_| answer);
    }
}

impl<K, V> Clone for IdleTable<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Default for IdleTable<K, V> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Table { entries: Vec::new(), swept: false })))
    }
}

impl<K, V> IdleTable<K, V>
where
    K: Clone + PartialEq + Send + 'static,
    V: Default + Send + Sync + 'static,
{
    /// The value of this key, a new one if there is none. To be called in a runtime.
    fn get(&self, key: &K) -> Arc<V> {
        let mut table = lock(&self.0);
        if let Some(entry) = table.entries.iter_mut().find(|entry| entry.key == *key) {
            entry.asked = Instant::now();
            return Arc::clone(&entry.value);
        }
        let value = Arc::<V>::default();
        table.entries.push(Entry { key: key.clone(), value: Arc::clone(&value), asked: Instant::now() });
        if !mem::replace(&mut table.swept, true) {
            tokio::spawn(self.clone().sweep());
        }
        value
    }

    /// Removes a value.
    fn remove(&self, value: &Arc<V>) {
        lock(&self.0).entries.retain(|entry| !Arc::ptr_eq(&entry.value, value));
    }

    /// Removes what nobody asks for, until nothing is left.
    async fn sweep(self) {
        while let Some(next) = self.remove_idle().await {
            tokio::time::sleep_until(next).await;
        }
    }

    /// Removes what nobody has asked for in time; says when the next will be due.
    async fn remove_idle(&self) -> Option<Instant> {
        let (idle, next) = {
            let mut table = lock(&self.0);
            let now = Instant::now();
            let idle: Vec<_> = table.entries.extract_if(.., |entry| entry.asked + IDLE_TIMEOUT <= now).collect();
            let next = table.entries.iter().map(|entry| entry.asked + IDLE_TIMEOUT).min();
            table.swept = next.is_some();
            (idle, next)
        };
        if !idle.is_empty() {
            // To close a watch of many directories takes its time.
            threads::run_next(move || drop(idle)).await;
        }
        next
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Open {
    fn new(agent: &Agent, request: &Watch) -> Result<Self, Error> {
        let _permit = acquire_permit(agent)?;
        let watcher = Watcher::open(agent.clone(), request)?;
        let name = format!("{}-{}", agent.processes.incarnation(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Ok(Self { name, watcher, log: Log::default(), held: agent.memory.account(), _permit })
    }

    /// Takes what the kernel has kept. True when the watch is over.
    fn take(&mut self) -> Result<bool, Error> {
        loop {
            let batch = self.watcher.take()?;
            batch.changes.into_iter().for_each(|change| self.log.push(change));
            if self.held.resize(self.log.bytes).is_err() {
                // The caller reads the directory again.
                self.log.clear();
                drop(self.held.resize(0));
            }
            if batch.end.is_some() || !batch.more {
                return Ok(batch.end.is_some());
            }
        }
    }

    fn answer(&self, since: Option<&str>) -> RecentChanges {
        let version = format!("{}.{}", self.name, self.log.end);
        let count = since.map_or(Some(self.log.end), |since| since.strip_prefix(&self.name)?.strip_prefix('.')?.parse().ok());
        let known = count.and_then(|count| self.log.since(count));
        RecentChanges { resync: known.is_none(), changes: known.unwrap_or_default(), version }
    }
}

/// What a change takes.
fn size(change: &Change) -> usize {
    let paths = match change {
        Change::Created { path, .. }
        | Change::Modified { path }
        | Change::Attributes { path, .. }
        | Change::Removed { path, .. } => path.as_bytes().len(),
        Change::Renamed { from, to, .. } => from.as_bytes().len() + to.as_bytes().len(),
        Change::Ready {} | Change::Overflow {} => 0,
    };
    CHANGE_BYTES + paths
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;

    #[test]
    fn what_is_known_is_told_and_what_is_not_is_said() {
        let mut log = Log::default();
        let change = |number: usize| Change::Modified { path: number.to_string().as_str().into() };
        (0..3).for_each(|number| log.push(change(number)));
        assert_eq!(log.since(1), Some(vec![change(1), change(2)]));
        assert_eq!((log.since(3), log.since(4)), (Some(vec![]), None));
        log.push(Change::Overflow {});
        log.push(change(9));
        assert_eq!((log.since(3), log.since(4)), (None, Some(vec![change(9)])));
        (0..MAX_CHANGES_KEPT).for_each(|number| log.push(change(number)));
        assert_eq!((log.since(4), log.since(5).map(|changes| changes.len())), (None, Some(MAX_CHANGES_KEPT)));
        let long = Change::Modified { path: "x".repeat(MAX_BYTES_KEPT / 4).as_str().into() };
        (0..10).for_each(|_| log.push(long.clone()));
        assert_eq!((log.since(log.end - 3), log.since(log.end - 4)), (Some(vec![long; 3]), None));
        assert!(log.bytes <= MAX_BYTES_KEPT);
    }

    #[tokio::test(start_paused = true)]
    async fn values_that_nobody_asks_for_are_removed() {
        let table = IdleTable::<u8, ()>::default();
        let weak = |key: u8| Arc::downgrade(&table.get(&key));
        let (forgotten, wanted) = (weak(1), weak(2));
        tokio::time::sleep(IDLE_TIMEOUT / 2).await;
        assert!(Weak::ptr_eq(&weak(2), &wanted));
        tokio::time::sleep(IDLE_TIMEOUT / 2 + Duration::from_millis(1)).await;
        while forgotten.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(wanted.strong_count(), 1);
        tokio::time::sleep(IDLE_TIMEOUT).await;
        while wanted.strong_count() > 0 || lock(&table.0).swept {
            tokio::task::yield_now().await;
        }
        weak(3);
        assert!(lock(&table.0).swept, "a later value is looked after, too");
    }
}
